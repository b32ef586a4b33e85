import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch

/// The small checkpoints as GGUF files.
@Suite struct GGUFModelTests {
    static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/models").path

    static func logits(_ checkpoint: Checkpoint) throws -> [Float] {
        let model = try ModelRegistry.load(checkpoint, dtype: .float32)
        let ids = (0..<30).map { Int32($0 * 7) }
        return try Torch.checked {
            model(
                Step(
                    tokens: ids,
                    runs: [.init(state: model.makeState(capacity: 30), count: 30)],
                    outputRows: Array(0..<30)
                )
            ).floats
        }
    }

    @Test(arguments: ["llama-tied", "qwen2", "qwen3", "qwen3-yarn"])
    func `a GGUF file gives the bits of the folder that it was made of`(_ name: String) throws {
        let folder = try Checkpoint(opening: "\(Self.fixtures)/\(name)")
        var twin = GGUFTwin(of: folder)
        if name == "qwen3-yarn" {
            twin.addYaRN(folder.config["rope_parameters"], family: "qwen3")
        }
        let expected = try Self.logits(folder)
        try twin.opened { file in
            #expect(file.contextLength == folder.contextLength)
            let isSame = try Self.logits(file) == expected
            #expect(isSame)
        }
    }

    @Test func `the file of llama.cpp's own writer gives the logits of transformers`() throws {
        let golden = try Golden("llama-bias")
        let file = try Checkpoint(opening: "\(Self.fixtures)/llama-bias.gguf")
        let model = try ModelRegistry.load(file, dtype: .float32)
        let state = model.makeState(capacity: golden.ids.count)
        let found = try Torch.checked {
            model(
                Step(
                    tokens: golden.ids,
                    runs: [.init(state: state, count: golden.ids.count)],
                    outputRows: Array(golden.ids.indices)
                )
            ).floats
        }
        #expect(found.count == golden.logits.count)
        let worst = zip(found, golden.logits).map { abs($0 - $1) }.max() ?? .infinity
        #expect(worst <= 1e-4)
    }

    /// The same scaling in a folder's words and in those of the file's metadata.
    static let scalings: [(rope: JSONValue, keys: [String: GGUFTwin.Value])] = [
        (
            ["rope_type": "linear", "factor": 4],
            ["scaling.type": .text("linear"), "scaling.factor": .float(4)]
        ),
        (["rope_type": "linear", "factor": 4], ["scaling.factor": .float(4)]),
        (["rope_type": "linear", "factor": 4], ["scale_linear": .float(4)]),
        (["rope_type": "default"], ["scaling.type": .text("none"), "scaling.factor": .float(4)]),
        (["rope_type": "default"], ["scaling.factor": .float(0)]),
        (["rope_type": "default"], ["scaling.type": .text("linear")]),
        (
            ["rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 16],
            [
                "scaling.type": .text("yarn"), "scaling.factor": .float(2),
                "scaling.original_context_length": .int(16), "scaling.yarn_attn_factor": .float(-1),
            ]
        ),
        (
            [
                "rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 16,
                "beta_fast": 2, "beta_slow": .double(0.5), "attention_factor": .double(1.5),
            ],
            [
                "scaling.type": .text("yarn"), "scaling.factor": .float(8),
                "scaling.original_context_length": .int(16), "scaling.yarn_beta_fast": .float(2),
                "scaling.yarn_beta_slow": .float(0.5), "scaling.yarn_attn_factor": .float(1.5),
                "scaling.yarn_ext_factor": .float(1),
            ]
        ),
    ]

    @Test(arguments: scalings.indices)
    func `rotary scalings mean in a file what they mean in a folder`(_ index: Int) throws {
        let (rope, keys) = Self.scalings[index]
        let plain = try Checkpoint(opening: "\(Self.fixtures)/qwen2")
        var words = try #require(rope.object)
        words["rope_theta"] = plain.config["rope_parameters"]?["rope_theta"]
        let expected = try Altered("qwen2") { $0["rope_parameters"] = .object(words) }.logits()
        var twin = GGUFTwin(of: plain)
        for (key, value) in keys { twin.keys["qwen2.rope.\(key)"] = value }
        let isSame = try twin.opened { try Self.logits($0) == expected.logits }
        #expect(isSame)
    }

    @Test func `an array that says the same for each layer is one number`() throws {
        let folder = try Checkpoint(opening: "\(Self.fixtures)/qwen2")
        var twin = GGUFTwin(of: folder)
        let heads = folder.config["num_key_value_heads"]?.int ?? 0
        twin.keys["qwen2.attention.head_count_kv"] = .ints([heads, heads])
        let expected = try Self.logits(folder)
        let isSame = try twin.opened { try Self.logits($0) == expected }
        #expect(isSame)
    }

    static let wrong: [(key: String, value: GGUFTwin.Value?)] = [
        ("feed_forward_length", nil), ("block_count", nil), ("embedding_length", .text("32")),
        ("attention.head_count", .ints([4, 2])), ("attention.head_count", .int(3)),
        ("attention.head_count_kv", .int(3)), ("attention.value_length", .int(16)),
        ("rope.dimension_count", .int(4)), ("expert_count", .int(8)),
        ("attention.layer_norm_rms_epsilon", .text("1e-6")), ("rope.scaling.type", .int(1)),
        ("rope.scaling.type", .text("longrope")), ("rope.scaling.attn_factor", .float(1.2)),
        ("rope.scaling.yarn_ext_factor", .float(0)), ("rope.scaling.factor", .float(-2)),
    ]

    @Test(arguments: wrong.indices)
    func `a wrong key is an error that names it as the file does`(_ index: Int) throws {
        let (key, value) = Self.wrong[index]
        var twin = GGUFTwin(of: try Checkpoint(opening: "\(Self.fixtures)/llama-bias"))
        twin.keys["llama.attention.key_length"] = .int(8)
        twin.keys["llama.\(key)"] = value
        #expect {
            try twin.opened { try Self.logits($0) }
        } throws: {
            "\($0)".contains("llama.\(key)")
        }
    }

    @Test(arguments: ["blk.0.attn_qq.weight", "blk.0.attn_sinks.bias", "blk.1.ffn_norm.bias"])
    func `a tensor that the model does not compute with is an error`(_ name: String) throws {
        var twin = GGUFTwin(of: try Checkpoint(opening: "\(Self.fixtures)/llama-bias"))
        twin.tensors[name] = ([1], [0, 0, 0, 0])
        #expect {
            try twin.opened { try Self.logits($0) }
        } throws: {
            $0 as? ModelError == .unused(tensors: [name])
        }
    }

    @Test func `a missing or misshapen tensor has the file's name for it`() throws {
        let twin = GGUFTwin(of: try Checkpoint(opening: "\(Self.fixtures)/llama-bias"))
        var without = twin
        without.tensors["blk.1.attn_k.bias"] = nil
        var other = twin
        other.tensors["output_norm.weight"] = ([16], [UInt8](repeating: 0, count: 64))
        for (file, name) in [(without, "blk.1.attn_k.bias"), (other, "output_norm.weight")] {
            #expect {
                try file.opened { try Self.logits($0) }
            } throws: {
                "\($0)".contains("tensor \(name)")
            }
        }
    }
}
