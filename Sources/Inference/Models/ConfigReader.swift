import JSON
import NN

/// Reads `config.json` field by field; every number is checked against the range that a model can have.
struct ConfigReader {
    let config: JSONValue

    /// A whole number in `range`; `otherwise` where the key is absent or null.
    func int(_ key: String, in range: ClosedRange<Int>, otherwise: Int? = nil) throws(ModelError)
        -> Int
    {
        guard let value = value(key) else {
            if let otherwise { return otherwise }
            throw .config(key: key, found: "absent", expected: "\(range)")
        }
        guard let number = value.int, range.contains(number) else {
            throw .config(key: key, found: text(value), expected: "\(range)")
        }
        return number
    }

    /// A finite number in `range`; `otherwise` where the key is absent or null.
    func double(_ key: String, in range: ClosedRange<Double>, otherwise: Double? = nil)
        throws(ModelError) -> Double
    {
        guard let value = value(key) else {
            if let otherwise { return otherwise }
            throw .config(key: key, found: "absent", expected: "\(range)")
        }
        guard let number = value.double, range.contains(number) else {
            throw .config(key: key, found: text(value), expected: "\(range)")
        }
        return number
    }

    /// A flag; `otherwise` where the key is absent or null.
    func bool(_ key: String, otherwise: Bool) throws(ModelError) -> Bool {
        guard let value = value(key) else { return otherwise }
        guard let flag = value.bool else {
            throw .config(key: key, found: text(value), expected: "true or false")
        }
        return flag
    }

    /// The rotary base and scaling, in the spelling of transformers 5 (`rope_parameters`) or before
    /// (`rope_theta`, `rope_scaling`).
    func rotary() throws(ModelError) -> (base: Double, scaling: RotaryEmbedding.Scaling) {
        let nested = value("rope_parameters") ?? value("rope_scaling") ?? .object(JSONObject())
        guard nested.object != nil else {
            throw .config(key: "rope_scaling", found: text(nested), expected: "an object")
        }
        let rope = ConfigReader(config: nested)
        let theta = rope.value("rope_theta") == nil ? self : rope
        let base = try theta.double("rope_theta", in: 1...1e12, otherwise: 10_000)
        let kind = (rope.value("rope_type") ?? rope.value("type"))?.string ?? "default"
        switch kind {
        case "default", "mrope": return (base, .none)
        case "linear":
            return (base, .linear(factor: try rope.double("factor", in: 1e-3...1e6)))
        case "llama3":
            let low = try rope.double("low_freq_factor", in: 1e-3...1e6)
            return (
                base,
                .llama3(
                    factor: try rope.double("factor", in: 1e-3...1e6),
                    low: low,
                    high: try rope.double("high_freq_factor", in: low.nextUp...1e6),
                    original: try rope.double("original_max_position_embeddings", in: 1...1e9)
                )
            )
        default:
            throw .config(key: "rope_type", found: kind, expected: "default, linear or llama3")
        }
    }

    /// The member; nil where it is absent or null.
    func value(_ key: String) -> JSONValue? {
        guard let value = config[key], !value.isNull else { return nil }
        return value
    }

    private func text(_ value: JSONValue) -> String {
        switch value {
        case .number(let number): String(number.text.prefix(40))
        case .string(let string): "\"\(string.prefix(40))\""
        case .bool(let flag): "\(flag)"
        default: "of the kind \(value.kind)"
        }
    }
}
