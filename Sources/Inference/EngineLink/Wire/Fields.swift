internal import JSON

/// Reads the members of a JSON object and checks each against its bounds.
///
/// Unknown members are ignored, so that a newer side may add some.
struct Fields {
    let object: JSONObject

    init(_ value: JSONValue?) throws(ProtocolError) {
        guard let object = value?.object else { throw ProtocolError("expected an object") }
        self.object = object
    }

    init(payload: [UInt8]) throws(ProtocolError) {
        do { try self.init(JSONValue.parse(payload)) } catch let error as ProtocolError {
            throw error
        } catch { throw ProtocolError("payload is not JSON") }
    }

    func isPresent(_ name: String) -> Bool { !(object[name]?.isNull ?? true) }

    func int(_ name: String, _ range: ClosedRange<Int>) throws(ProtocolError) -> Int {
        guard let value = object[name]?.int, range.contains(value) else {
            throw ProtocolError("\(name) is missing or out of range")
        }
        return value
    }

    func optionalInt(_ name: String, _ range: ClosedRange<Int>) throws(ProtocolError) -> Int? {
        isPresent(name) ? try int(name, range) : nil
    }

    /// Whole numbers beyond Int's range travel as strings.
    func unsigned(_ name: String) throws(ProtocolError) -> UInt64 {
        guard let value = object[name]?.string.flatMap({ UInt64($0) }) else {
            throw ProtocolError("\(name) is missing or out of range")
        }
        return value
    }

    func double(_ name: String, _ range: ClosedRange<Double>) throws(ProtocolError) -> Double {
        guard let value = object[name]?.double, range.contains(value) else {
            throw ProtocolError("\(name) is missing or out of range")
        }
        return value
    }

    /// A Float that was written as the Double of the same value.
    func float(_ name: String) throws(ProtocolError) -> Float {
        guard let value = object[name]?.double, value.isFinite, value.magnitude < 1e9 else {
            throw ProtocolError("\(name) is missing or out of range")
        }
        return Float(value)
    }

    func bool(_ name: String) throws(ProtocolError) -> Bool {
        guard let value = object[name]?.bool else { throw ProtocolError("\(name) is missing") }
        return value
    }

    func string(_ name: String, _ limit: Int) throws(ProtocolError) -> String {
        guard let value = object[name]?.string, value.utf8.count <= limit else {
            throw ProtocolError("\(name) is missing or too long")
        }
        return value
    }

    func tokens(_ name: String) throws(ProtocolError) -> [Int32] {
        guard let values = object[name]?.array else { throw ProtocolError("\(name) is missing") }
        var output: [Int32] = []
        output.reserveCapacity(values.count)
        for value in values {
            guard let token = value.int.flatMap({ Int32(exactly: $0) }), token >= 0 else {
                throw ProtocolError("\(name) has a token out of range")
            }
            output.append(token)
        }
        return output
    }

    func array(_ name: String) throws(ProtocolError) -> [JSONValue] {
        guard let values = object[name]?.array else { throw ProtocolError("\(name) is missing") }
        return values
    }
}

extension JSONValue {
    static func tokens(_ values: [Int32]) -> JSONValue { .array(values.map { .int(Int($0)) }) }
    static func float(_ value: Float) -> JSONValue { .double(Double(value)) }
    static func unsigned(_ value: UInt64) -> JSONValue { .string(String(value)) }
    static func optional(_ value: Int?) -> JSONValue { value.map { .int($0) } ?? .null }
}
