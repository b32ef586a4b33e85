internal import JSON

/// A value of the template language, with Python's meaning.
indirect enum Value {
    /// Something that is not there; the name is for messages.
    case undefined(String)
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(TaintedText)
    case list(Items)
    case tuple(Items)
    case dict(Dict)
    case namespace(Namespace)
    case macro(Macro)
    case loop(LoopState)
    /// A function by its name, or a method with what it belongs to.
    case function(String)
    case method(Value, String)
    case counter(Counter)

    static func text(_ string: String) -> Value { .string(TaintedText(string)) }
}

extension Value {
    /// A JSON value; its strings are the client's unless told otherwise.
    init(_ json: JSONValue, trusted: Bool) {
        func text(_ string: String) -> TaintedText {
            trusted ? TaintedText(string) : TaintedText(untrusted: string)
        }
        switch json {
        case .null: self = .none
        case .bool(let flag): self = .bool(flag)
        case .number(let number):
            if number.isInteger, let whole = number.int {
                self = .int(whole)
            } else {
                self = .float(number.double)
            }
        case .string(let string): self = .string(text(string))
        case .array(let elements): self = .list(Items(elements.map { Value($0, trusted: trusted) }))
        case .object(let object):
            var dict = Dict()
            for (name, value) in object.members {
                dict.set(.string(text(name)), Value(value, trusted: trusted))
            }
            self = .dict(dict)
        }
    }

    var key: Dict.Key? {
        switch self {
        case .string(let text): return .text(text)
        case .int(let value): return .number(Double(value))
        case .float(let value): return .number(value)
        case .bool(let value): return .number(value ? 1 : 0)
        case .none: return .nothing
        case .tuple(let items):
            let keys = items.compactMap(\.key)
            return keys.count == items.count ? .tuple(keys) : nil
        default: return nil
        }
    }

    var isUndefined: Bool {
        if case .undefined = self { true } else { false }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let items), .tuple(let items): !items.isEmpty
        case .dict(let dict): dict.count > 0
        default: true
        }
    }

    /// The number, for arithmetic: booleans count as 0 and 1.
    var number: Double? {
        switch self {
        case .int(let value): Double(value)
        case .float(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    /// The whole number, booleans included.
    var whole: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    /// Characters of a string, items of a list.
    var length: Int {
        switch self {
        case .string(let text): text.count
        case .list(let items), .tuple(let items): items.count
        case .dict(let dict): dict.count
        default: 0
        }
    }

    /// Python's name of the type.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .float: "float"
        case .string: "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dict: "dict"
        case .namespace: "Namespace"
        case .macro: "Macro"
        case .loop: "LoopContext"
        case .function, .method: "function"
        case .counter: "Cycler"
        }
    }

    static func equal(_ a: Value, _ b: Value) -> Bool {
        switch (a, b) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.string(let x), .string(let y)): return x == y
        case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
            return x.count == y.count && zip(x.values, y.values).allSatisfy(equal)
        case (.dict(let x), .dict(let y)):
            return x.count == y.count
                && zip(x.keys, x.values).allSatisfy { key, value in
                    y[key].map { equal($0, value) } ?? false
                }
        case (.int(let x), .int(let y)): return x == y
        case (.namespace(let x), .namespace(let y)): return x === y
        case (.macro(let x), .macro(let y)): return x === y
        default:
            guard let x = a.number, let y = b.number else { return false }
            return x == y
        }
    }
}
