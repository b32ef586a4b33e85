/// Typed access to the keys below the architecture's name.
struct GGUFKeys {
    let metadata: GGUFMetadata
    let file: String

    private func fail(_ key: String, _ detail: String) -> CheckpointError {
        CheckpointError(
            .unsupported,
            file: file,
            "key '\(metadata.architecture).\(key)' \(detail)"
        )
    }

    private func value(_ key: String) -> GGUFValue? {
        metadata.values["\(metadata.architecture).\(key)"]
    }

    /// A whole number; one a layer where all are alike.
    func int(_ key: String) throws(CheckpointError) -> Int? {
        switch value(key) {
        case nil: return nil
        case .int(let value)?: return value
        case .ints(let values)?:
            guard let first = values.first, values.allSatisfy({ $0 == first }) else {
                throw fail(key, "differs from layer to layer")
            }
            return first
        default: throw fail(key, "is no whole number")
        }
    }

    func double(_ key: String) throws(CheckpointError) -> Double? {
        switch value(key) {
        case nil: return nil
        case .float(let value)? where value.isFinite: return value
        case .int(let value)?: return Double(value)
        default: throw fail(key, "is no finite number")
        }
    }

    func string(_ key: String) throws(CheckpointError) -> String? {
        switch value(key) {
        case nil: return nil
        case .string(let value)?: return value
        default: throw fail(key, "is no text")
        }
    }

    /// Features that such files can have and the model of the same name here has not.
    func refuseWhatIsNotComputed() throws(CheckpointError) {
        if let experts = try int("expert_count"), experts > 0 {
            throw fail("expert_count", "is \(experts): mixtures of experts are not supported")
        }
        let width = try int("attention.key_length")
        for key in ["attention.value_length", "rope.dimension_count"] {
            guard let width, let other = try int(key), other != width else { continue }
            throw fail(key, "is \(other), expected the head's size \(width)")
        }
        let neutral: [(String, [Double])] = [
            ("rope.scaling.attn_factor", [0, 1]), ("rope.scaling.yarn_log_multiplier", [0]),
            ("rope.scaling.yarn_ext_factor", [-1, 1]),
        ]
        for (key, values) in neutral {
            guard let value = try double(key), !values.contains(value) else { continue }
            throw fail(key, "is \(value), expected \(values[values.count - 1])")
        }
    }
}
