import Checkpoints
import Foundation
import JSON

/// A small checkpoint as a GGUF file, named and described as llama.cpp's converter does.
struct GGUFTwin {
    /// Values that the files' metadata have.
    enum Value {
        case int(Int), float(Double), text(String), ints([Int])
    }

    /// By key.
    var keys: [String: Value] = [:]
    /// float32, by GGUF's name; sides slowest first.
    var tensors: [String: (shape: [Int], bytes: [UInt8])] = [:]

    private static let names = [
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    ]

    init(of checkpoint: Checkpoint) {
        let config = checkpoint.config
        let family = checkpoint.modelType
        keys["general.architecture"] = .text(family)
        for (key, name) in [
            ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
            ("block_count", "num_hidden_layers"), ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"), ("vocab_size", "vocab_size"),
            ("attention.key_length", "head_dim"), ("attention.value_length", "head_dim"),
            ("context_length", "max_position_embeddings"),
        ] {
            if let value = config[name]?.int { keys["\(family).\(key)"] = .int(value) }
        }
        let base = (config["rope_parameters"] ?? config)["rope_theta"]?.double ?? 0
        keys["\(family).rope.freq_base"] = .float(base)
        let epsilon = config["rms_norm_eps"]?.double ?? 0
        keys["\(family).attention.layer_norm_rms_epsilon"] = .float(epsilon)
        for (name, tensor) in checkpoint.tensors {
            var bytes = [UInt8](tensor.bytes)
            let heads = ["q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"]
                .first { name.contains($0.key) }.flatMap { config[$0.value]?.int }
            if family == "llama", let heads {
                bytes = Self.permuted(bytes, rows: tensor.shape[0], heads: heads)
            }
            tensors[Self.name(name)] = (tensor.shape, bytes)
        }
    }

    /// `model.layers.1.mlp.up_proj.weight` → `blk.1.ffn_up.weight`.
    private static func name(_ name: String) -> String {
        let words = name.split(separator: ".").map(String.init)
        let kind = words[words.count - 1]
        guard words.count > 3, words[1] == "layers" else {
            let outer = words.dropLast().joined(separator: ".")
            return "\(names[outer] ?? outer).\(kind)"
        }
        let inner = words[3..<words.count - 1].joined(separator: ".")
        return "blk.\(words[2]).\(names[inner] ?? inner).\(kind)"
    }

    /// Row `half + i` of a head behind row `i`.
    private static func permuted(_ bytes: [UInt8], rows: Int, heads: Int) -> [UInt8] {
        let width = bytes.count / rows
        let half = rows / heads / 2
        return (0..<rows).flatMap { row in
            let (head, inside) = (row / (2 * half), row % (2 * half))
            let from = head * 2 * half + inside % 2 * half + inside / 2
            return bytes[from * width..<(from + 1) * width]
        }
    }

    /// Adds what the converter adds for a YaRN scaling.
    mutating func addYaRN(_ rope: JSONValue?, family: String) {
        keys["\(family).rope.scaling.type"] = .text("yarn")
        keys["\(family).rope.scaling.factor"] = .float(rope?["factor"]?.double ?? 0)
        let original = rope?["original_max_position_embeddings"]?.int ?? 0
        keys["\(family).rope.scaling.original_context_length"] = .int(original)
        for (key, name) in [
            ("yarn_attn_factor", "attention_factor"), ("yarn_beta_fast", "beta_fast"),
            ("yarn_beta_slow", "beta_slow"),
        ] {
            guard let value = rope?[name]?.double else { continue }
            keys["\(family).rope.scaling.\(key)"] = .float(value)
        }
    }

    /// The whole file.
    var bytes: [UInt8] {
        func number<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        func text(_ value: String) -> [UInt8] {
            number(UInt64(value.utf8.count)) + Array(value.utf8)
        }
        var head = Array("GGUF".utf8) + number(UInt32(3))
        head += number(UInt64(tensors.count)) + number(UInt64(keys.count))
        for (key, value) in keys.sorted(by: { $0.key < $1.key }) {
            head += text(key)
            switch value {
            case .int(let value): head += number(UInt32(4)) + number(UInt32(value))
            case .float(let value):
                head += number(UInt32(6)) + number(Float(value).bitPattern)
            case .text(let value): head += number(UInt32(8)) + text(value)
            case .ints(let values):
                head += number(UInt32(9)) + number(UInt32(5)) + number(UInt64(values.count))
                head += values.flatMap { number(Int32($0)) }
            }
        }
        var data: [UInt8] = []
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            head += text(name) + number(UInt32(tensor.shape.count))
            for side in tensor.shape.reversed() { head += number(UInt64(side)) }
            head += number(UInt32(0)) + number(UInt64(data.count))
            data += tensor.bytes
            data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
        }
        head += [UInt8](repeating: 0, count: (32 - head.count % 32) % 32)
        return head + data
    }

    /// Writes the file for as long as `body` runs.
    func opened<Value>(_ body: (Checkpoint) throws -> Value) throws -> Value {
        let path = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).gguf")
        defer { try? FileManager.default.removeItem(at: path) }
        try Data(bytes).write(to: path)
        return try body(Checkpoint(opening: path.path))
    }
}
