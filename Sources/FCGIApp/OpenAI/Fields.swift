import JSON

/// The members of one object of a request, read by name, type and range.
///
/// `null` counts as absent: clients send it for what they leave to the server. Errors name the field
/// by its path.
struct Fields {
    /// The largest count that a field may carry.
    static let maxCount = Int(Int32.max)

    let object: JSONObject
    /// Path of the object with a trailing dot; empty at the top.
    let prefix: String

    init(_ object: JSONObject, at path: String = "") {
        self.object = object
        prefix = path.isEmpty ? "" : path + "."
    }

    /// The top object of a body.
    init(body: JSONValue) throws(APIError) {
        guard case .object(let object) = body else {
            throw APIError(
                status: 400,
                type: .invalidRequest,
                code: "invalid_type",
                message: "The body must be a JSON object, not \(body.kind)."
            )
        }
        self.init(object)
    }

    func param(_ name: String) -> String { prefix + name }

    /// The value, unless it is absent or null.
    func value(_ name: String) -> JSONValue? {
        guard let value = object[name], !value.isNull else { return nil }
        return value
    }

    func invalid(_ name: String, _ message: String) -> APIError {
        .invalidValue(param(name), message)
    }

    func wrongType(_ name: String, _ expected: String, _ value: JSONValue) -> APIError {
        .invalidType(param(name), expected: expected, got: value)
    }

    /// Refuses fields that would change the answer's meaning and are not served.
    func refuse(_ names: [String], because reason: String) throws(APIError) {
        for name in names where value(name) != nil {
            throw .unsupportedValue(param(name), reason)
        }
    }

    func bool(_ name: String) throws(APIError) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let flag = value.bool else { throw wrongType(name, "a boolean", value) }
        return flag
    }

    /// Text of at most `maxBytes` bytes of UTF-8.
    func string(_ name: String, maxBytes: Int = .max) throws(APIError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw wrongType(name, "a string", value) }
        guard text.utf8.count <= maxBytes else {
            throw invalid(name, "longer than \(maxBytes) bytes.")
        }
        return text
    }

    func object(_ name: String) throws(APIError) -> JSONObject? {
        guard let value = value(name) else { return nil }
        guard let object = value.object else { throw wrongType(name, "an object", value) }
        return object
    }

    /// An array of at most `maxCount` elements.
    func array(_ name: String, maxCount: Int) throws(APIError) -> [JSONValue]? {
        guard let value = value(name) else { return nil }
        guard let elements = value.array else { throw wrongType(name, "an array", value) }
        guard elements.count <= maxCount else {
            throw invalid(name, "\(elements.count) elements, at most \(maxCount) are allowed.")
        }
        return elements
    }

    /// A whole number within `range`.
    func int(_ name: String, _ range: ClosedRange<Int>) throws(APIError) -> Int? {
        guard let value = value(name) else { return nil }
        guard case .number(let number) = value else { throw wrongType(name, "an integer", value) }
        guard let whole = number.int else {
            let huge = number.double.magnitude >= 9e18
            throw huge
                ? invalid(name, outside(range.lowerBound, range.upperBound))
                : .invalidType(param(name), expected: "an integer", got: value)
        }
        guard range.contains(whole) else {
            throw invalid(name, outside(range.lowerBound, range.upperBound))
        }
        return whole
    }

    /// A finite number within `range`; `aboveLower` leaves the lower bound out.
    func number(
        _ name: String,
        _ range: ClosedRange<Double>,
        aboveLower: Bool = false
    ) throws(APIError) -> Double? {
        guard let value = value(name) else { return nil }
        guard let number = value.double else { throw wrongType(name, "a number", value) }
        guard number.isFinite, range.contains(number), !aboveLower || number > range.lowerBound
        else { throw invalid(name, outside(range.lowerBound, range.upperBound, aboveLower)) }
        return number == 0 ? 0 : number
    }

    private func outside(
        _ low: some LosslessStringConvertible,
        _ high: some LosslessStringConvertible,
        _ open: Bool = false
    ) -> String {
        "must be \(open ? "above" : "at least") \(low) and at most \(high)."
    }
}
