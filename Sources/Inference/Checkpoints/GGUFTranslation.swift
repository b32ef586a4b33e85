internal import JSON

/// Spells a GGUF file's metadata and names as Hugging Face's folders do, so that one reader serves both.
enum GGUFTranslation {
    /// Architectures whose metadata and tensors are known, and their `model_type`.
    static let modelTypes = ["llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"]

    /// `config.json` as the metadata implies it.
    static func config(_ metadata: GGUFMetadata, vocabulary: Int?, hasHead: Bool?) -> JSONValue {
        let architecture = metadata.architecture
        func int(_ key: String) -> Int? { metadata.int("\(architecture).\(key)") }
        func double(_ key: String) -> Double? { metadata.double("\(architecture).\(key)") }
        var config = JSONObject()
        config["model_type"] = .string(modelTypes[architecture] ?? architecture)
        func set(_ name: String, _ value: Int?) { if let value { config[name] = .int(value) } }
        set("hidden_size", int("embedding_length"))
        set("intermediate_size", int("feed_forward_length"))
        set("num_hidden_layers", int("block_count"))
        set("num_attention_heads", int("attention.head_count"))
        set("num_key_value_heads", int("attention.head_count_kv") ?? int("attention.head_count"))
        set("head_dim", int("attention.key_length") ?? int("rope.dimension_count"))
        set("max_position_embeddings", int("context_length"))
        set("vocab_size", vocabulary ?? int("vocab_size"))
        config["rms_norm_eps"] = .double(double("attention.layer_norm_rms_epsilon") ?? 1e-5)
        config["rope_theta"] = .double(double("rope.freq_base") ?? 10000)
        if let kind = metadata.string("\(architecture).rope.scaling.type"), kind != "none",
            let factor = double("rope.scaling.factor")
        {
            var scaling: JSONObject = JSONObject()
            scaling["rope_type"] = .string(kind)
            scaling["factor"] = .double(factor)
            if let original = int("rope.scaling.original_context_length") {
                scaling["original_max_position_embeddings"] = .int(original)
            }
            for key in ["beta_fast", "beta_slow"] {
                guard let value = double("rope.scaling.yarn_\(key)"), value > 0 else { continue }
                scaling[key] = .double(value)
            }
            config["rope_scaling"] = .object(scaling)
        }
        if let hasHead { config["tie_word_embeddings"] = .bool(!hasHead) }
        set("bos_token_id", metadata.int("tokenizer.ggml.bos_token_id"))
        set("eos_token_id", metadata.int("tokenizer.ggml.eos_token_id"))
        return .object(config)
    }

    private static let outer = [
        "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight", "rope_freqs.weight": "rope_freqs.weight",
    ]
    private static let inner = [
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    ]

    /// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; unknown names stay.
    static func name(_ name: String) -> String {
        if let known = outer[name] { return known }
        let parts = name.split(separator: ".")
        guard parts.count == 4, parts[0] == "blk", Int(parts[1]) != nil,
            let known = inner[String(parts[2])]
        else { return name }
        return "model.layers.\(parts[1]).\(known).\(parts[3])"
    }

    /// Heads over which the rows of q and k were permuted: llama's converter does it, others do not.
    static func permutedHeads(_ name: String, _ metadata: GGUFMetadata) -> Int? {
        guard metadata.architecture == "llama" else { return nil }
        if name.contains(".attn_q.") { return metadata.int("llama.attention.head_count") }
        if name.contains(".attn_k.") {
            return metadata.int("llama.attention.head_count_kv")
                ?? metadata.int("llama.attention.head_count")
        }
        return nil
    }
}
