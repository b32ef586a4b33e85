import JSON
import NN

extension ConfigReader {
    /// The rotary base and scaling, in the spelling of transformers 5 (`rope_parameters`) or before
    /// (`rope_theta`, `rope_scaling`).
    ///
    /// `context`: the trained length where the scaling names none.
    func rotary(context: Int) throws(ModelError) -> (
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
                    original: try rope.original(otherwise: context)
                )
            )
        default:
            throw .config(key: "rope_type", found: kind, expected: "default, linear or llama3")
        }
    }

    private func original(otherwise context: Int) throws(ModelError) -> Double {
        try double(
            "original_max_position_embeddings",
            in: 1...1e9,
            otherwise: Double(context)
        )
    }
}
