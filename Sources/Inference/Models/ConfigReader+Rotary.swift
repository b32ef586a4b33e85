import JSON
package import NN

extension ConfigReader {
    /// The rotary base and scaling, in the spelling of transformers 5 (`rope_parameters`) or before
    /// (`rope_theta`, `rope_scaling`).
    ///
    /// `context`: the trained length where the scaling names none.
    package func rotary(context: Int) throws(ModelError) -> (
        base: Double, scaling: RotaryEmbedding.Scaling
    ) {
        let written = [value("rope_scaling"), value("rope_parameters")].compactMap { $0 }
        // An empty scaling says nothing.
        let nested = written.first { $0.object?.isEmpty != true } ?? .object(JSONObject())
        guard nested.object != nil else {
            throw .config(key: "rope_scaling", found: text(nested), expected: "an object")
        }
        let rope = ConfigReader(nested)
        let theta = rope.value("rope_theta") == nil ? self : rope
        let base = try theta.double("rope_theta", in: 1...1e12, otherwise: 10_000)
        let kind = (rope.value("rope_type") ?? rope.value("type"))?.string ?? "default"
        switch kind {
        // What `dynamic` does begins behind the context's end.
        case "default", "mrope", "dynamic": return (base, .none)
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
                    original: try rope.original(root: self, context: context)
                )
            )
        case "yarn":
            guard base > 1 else {
                throw .config(key: "rope_theta", found: "1", expected: "more than 1 for YaRN")
            }
            return (base, .yarn(try rope.yarn(root: self, context: context)))
        default:
            throw .config(
                key: "rope_type",
                found: kind,
                expected: "default, linear, dynamic, llama3 or yarn"
            )
        }
    }

    private func yarn(root: ConfigReader, context: Int) throws(ModelError) -> YaRN {
        let range = 1e-3...1e6
        let original = try original(root: root, context: context)
        // null stands for the ratio of the lengths; absent for a forgotten key.
        let isNull = config["factor"]?.isNull == true
        let factor = try double(
            "factor",
            in: range,
            otherwise: isNull ? Double(context) / original : nil
        )
        let weights = [
            try double("mscale", in: 0...1e3, otherwise: 0),
            try double("mscale_all_dim", in: 0...1e3, otherwise: 0),
        ]
        let weighted =
            weights.contains(0)
            ? nil
            : YaRN.magnitude(factor, weight: weights[0])
                / YaRN.magnitude(factor, weight: weights[1])
        let written = value("attention_factor") != nil
        var yarn = YaRN(
            factor: factor,
            original: original,
            attentionFactor: written ? try double("attention_factor", in: 0...1e3) : weighted
        )
        // Zero is no bound and means the default.
        let fast = try double("beta_fast", in: 0...1e6, otherwise: 0)
        let slow = try double("beta_slow", in: 0...1e6, otherwise: 0)
        if fast > 0 { yarn.betaFast = fast }
        if slow > 0 { yarn.betaSlow = slow }
        yarn.truncate = try bool("truncate", otherwise: true)
        return yarn
    }

    /// The trained length: what the whole config says goes before the scaling's own.
    private func original(root: ConfigReader, context: Int) throws(ModelError) -> Double {
        let key = "original_max_position_embeddings"
        let holder = root.value(key) == nil ? self : root
        return try holder.double(key, in: 1...1e9, otherwise: Double(context))
    }
}
