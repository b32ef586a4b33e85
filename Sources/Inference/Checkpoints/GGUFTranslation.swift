internal import JSON

/// Spells a GGUF file's metadata and names as Hugging Face's folders do, so that one reader serves both.
enum GGUFTranslation {
    /// Architectures whose metadata and tensors are known, and their `model_type`.
    static let modelTypes = ["llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"]

    /// Keys below the architecture's name that are whole numbers, and `config.json`'s name for them.
    private static let numbers: [(name: String, key: String)] = [
        ("hidden_size", "embedding_length"), ("intermediate_size", "feed_forward_length"),
        ("num_hidden_layers", "block_count"), ("num_attention_heads", "attention.head_count"),
        ("num_key_value_heads", "attention.head_count_kv"), ("head_dim", "attention.key_length"),
        ("max_position_embeddings", "context_length"), ("vocab_size", "vocab_size"),
    ]
    private static let fractions: [(name: String, key: String, otherwise: Double)] = [
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
        ("rope_theta", "rope.freq_base", 10_000),
    ]

    /// The key from which a member of `config.json` was made.
    static func key(_ name: String, _ metadata: GGUFMetadata) -> String? {
        let known = numbers.map { ($0.name, $0.key) } + fractions.map { ($0.name, $0.key) }
        let scaling = [
            ("rope_type", "rope.scaling.type"), ("factor", "rope.scaling.factor"),
            ("original_max_position_embeddings", "rope.scaling.original_context_length"),
            ("attention_factor", "rope.scaling.yarn_attn_factor"),
            ("beta_fast", "rope.scaling.yarn_beta_fast"),
            ("beta_slow", "rope.scaling.yarn_beta_slow"),
        ]
        return (known + scaling).first { $0.0 == name }.map { "\(metadata.architecture).\($0.1)" }
    }

    /// `config.json` as the metadata implies it; `tensors`: shapes by GGUF's names, where they are known.
    /// - Throws: `CheckpointError` that names the key.
    static func config(_ metadata: GGUFMetadata, tensors: [String: [Int]]?, file: String)
        throws(CheckpointError) -> JSONValue
    {
        let keys = GGUFKeys(metadata: metadata, file: file)
        var config = JSONObject()
        let family = metadata.architecture
        config["model_type"] = .string(modelTypes[family] ?? family)
        if modelTypes[family] != nil {
            for (name, key) in numbers {
                if let value = try keys.int(key) { config[name] = .int(value) }
            }
            for (name, key, otherwise) in fractions {
                config[name] = .double(try keys.double(key) ?? otherwise)
            }
            try keys.refuseWhatIsNotComputed()
            // What has no such key may have a rotary width, which is then the head's.
            if config["head_dim"] == nil, let width = try keys.int("rope.dimension_count") {
                config["head_dim"] = .int(width)
            }
            if let scaling = try scaling(keys) { config["rope_scaling"] = .object(scaling) }
        }
        if let tokens = metadata.strings("tokenizer.ggml.tokens") {
            config["vocab_size"] = .int(tokens.count)
        }
        if let tensors {
            if let rows = tensors["token_embd.weight"]?.first { config["vocab_size"] = .int(rows) }
            func has(_ ending: String) -> JSONValue {
                .bool(tensors.keys.contains { $0.hasPrefix("blk.") && $0.hasSuffix(ending) })
            }
            config["tie_word_embeddings"] = .bool(tensors["output.weight"] == nil)
            config["attention_bias"] = has(".attn_q.bias")
            config["attention_output_bias"] = has(".attn_output.bias")
            config["mlp_bias"] = has(".ffn_down.bias")
        }
        for name in ["bos_token_id", "eos_token_id"] {
            if let id = metadata.int("tokenizer.ggml.\(name)") { config[name] = .int(id) }
        }
        return .object(config)
    }

    /// The stretching of rotary positions; a factor without a type is linear, as in llama.cpp.
    private static func scaling(_ keys: GGUFKeys) throws(CheckpointError) -> JSONObject? {
        let kind = try keys.string("rope.scaling.type") ?? "linear"
        let old = try keys.double("rope.scale_linear")
        let factor = try keys.double("rope.scaling.factor") ?? old
        guard kind != "none", factor != nil || kind != "linear" else { return nil }
        // Files without a stretch may say so by zero or one.
        if kind == "linear", factor == 0 || factor == 1 { return nil }
        var scaling = JSONObject([("rope_type", .string(kind))])
        if let factor { scaling["factor"] = .double(factor) }
        if let original = try keys.int("rope.scaling.original_context_length") {
            scaling["original_max_position_embeddings"] = .int(original)
        }
        for (name, key) in [
            ("attention_factor", "yarn_attn_factor"), ("beta_fast", "yarn_beta_fast"),
            ("beta_slow", "yarn_beta_slow"),
        ] {
            // Negative stands for absent.
            guard let value = try keys.double("rope.scaling.\(key)"), value >= 0 else { continue }
            scaling[name] = .double(value)
        }
        return scaling
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

    /// The way back: GGUF's name of a tensor.
    static func stored(_ name: String) -> String {
        if let known = outer.first(where: { $0.value == name }) { return known.key }
        let parts = name.split(separator: ".")
        guard parts.count > 4, parts[0] == "model", parts[1] == "layers" else { return name }
        let middle = parts[3..<parts.count - 1].joined(separator: ".")
        guard let known = inner.first(where: { $0.value == middle }) else { return name }
        return "blk.\(parts[2]).\(known.key).\(parts[parts.count - 1])"
    }

    /// Heads over which the rows of q and k were permuted: llama's converter does it, others do not.
    static func permutedHeads(_ name: String, _ config: JSONValue) -> Int? {
        guard config["model_type"]?.string == "llama" else { return nil }
        let heads = config["num_attention_heads"]?.int
        if name.contains(".attn_q.") { return heads }
        return name.contains(".attn_k.") ? config["num_key_value_heads"]?.int ?? heads : nil
    }
}
