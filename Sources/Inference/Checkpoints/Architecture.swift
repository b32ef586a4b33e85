/// The architectures that the engine runs, by their `model_type`.
public enum Architecture: String, Sendable, CaseIterable {
    /// The Dragon Hatchling.
    case bdh
    /// Llama 2 and 3, SmolLM2, and what shares their shape.
    case llama
    /// Mistral.
    case mistral
    /// Qwen2 and Qwen2.5.
    case qwen2
    /// Qwen2.5-VL.
    case qwen2_5VL = "qwen2_5_vl"
    /// Qwen3, dense.
    case qwen3
    /// Qwen3-VL, dense.
    case qwen3VL = "qwen3_vl"

    /// Every `model_type`, sorted.
    public static var names: [String] { allCases.map(\.rawValue).sorted() }
}

extension ModelConfiguration {
    /// Refuses what the engine refuses before it reads a weight: another architecture, heads that cannot
    /// be shared out.
    /// - Throws: `CheckpointError` that names the key and its value.
    public func checkArchitecture() throws(CheckpointError) {
        let file = ggufPath?.split(separator: "/").last.map(String.init) ?? "config.json"
        guard let architecture = Architecture(rawValue: modelType) else {
            let known = Architecture.names.joined(separator: ", ")
            throw CheckpointError(
                .unsupported,
                file: file,
                "the architecture \(modelType.isEmpty ? "(none)" : modelType) is not supported; "
                    + "known: \(known)"
            )
        }
        guard architecture != .bdh, let heads = text("num_attention_heads"), heads > 0 else {
            return
        }
        let keyHeads = text("num_key_value_heads") ?? (architecture == .mistral ? 8 : heads)
        guard keyHeads > 0, heads % keyHeads == 0 else {
            throw CheckpointError(
                .corrupt,
                file: file,
                "num_key_value_heads is \(keyHeads), expected a divisor of \(heads)"
            )
        }
    }
}
