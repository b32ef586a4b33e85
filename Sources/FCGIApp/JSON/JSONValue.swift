/// A JSON document as a value: object order and the text of numbers are kept, because chat templates
/// (`tojson`) and schemas depend on both.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

extension JSONValue {
    /// A whole number.
    public static func int(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

    /// A number; NaN and infinities become `null`, as JSON has no spelling for them.
    public static func double(_ value: Double) -> JSONValue {
        value.isFinite ? .number(JSONNumber(value)) : .null
    }

    /// Whether this is `null`.
    public var isNull: Bool { self == .null }

    /// The string, if this is one.
    public var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    /// The boolean, if this is one.
    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// The number as Int, if this is a number with a whole value that fits (`2`, `2.0`, `2e3`).
    public var int: Int? {
        guard case .number(let value) = self else { return nil }
        return value.int
    }

    /// The number as Double, if this is a number; may be infinite where the text overflows.
    public var double: Double? {
        guard case .number(let value) = self else { return nil }
        return value.double
    }

    /// The elements, if this is an array.
    public var array: [JSONValue]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    /// The members, if this is an object.
    public var object: JSONObject? {
        guard case .object(let value) = self else { return nil }
        return value
    }

    /// The member `key` of an object; nil for absent members and other kinds.
    public subscript(key: String) -> JSONValue? { object?[key] }

    /// The JSON name of the kind: `null`, `boolean`, `number`, `string`, `array` or `object`.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}

/// A JSON number that remembers its spelling.
public struct JSONNumber: Sendable, Hashable {
    /// The number as it was written, or its shortest round-trip spelling.
    public let text: String

    /// Takes text that already is a valid JSON number.
    init(validated text: String) { self.text = text }

    /// A whole number.
    public init(_ value: Int) { text = String(value) }

    /// A finite number, in its shortest spelling that reads back the same.
    public init(_ value: Double) { text = value.isFinite ? "\(value)" : "0" }

    /// Whether the spelling has neither a fraction nor an exponent.
    public var isInteger: Bool { !text.utf8.contains { $0 == 0x2E || $0 | 0x20 == 0x65 } }

    /// The value as Int where it is whole and fits.
    public var int: Int? {
        if let exact = Int(text) { return exact }
        let value = double
        return value.magnitude < 9.2e18 ? Int(exactly: value) : nil
    }

    /// The nearest Double; infinite where the text overflows.
    public var double: Double { Double(text) ?? .nan }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByNilLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
    /// A whole number.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// An array.
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// An object with the members in the order given.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements))
    }
}
