import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch
import Weights

@Suite struct ConfigTests {
    /// The tiny model's folder with an altered `config.json`.
    func load(_ change: (inout JSONObject) -> Void) throws -> any CausalLanguageModel {
        let fixture = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/models/llama-llama3rope")
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(
            at: fixture.appending(path: "model.safetensors"),
            to: folder.appending(path: "model.safetensors")
        )
        let text = try Data(contentsOf: fixture.appending(path: "config.json"))
        var config = try #require(try JSONValue.parse([UInt8](text)).object)
        change(&config)
        try Data(JSONValue.object(config).bytes()).write(to: folder.appending(path: "config.json"))
        return try ModelRegistry.load(Checkpoint(opening: folder.path), dtype: .float32)
    }

    func logits(_ model: any CausalLanguageModel) throws -> [Float] {
        try Torch.checked {
            model(
                Step(
                    tokens: [5, 6, 7],
                    runs: [.init(state: model.makeState(capacity: 3), count: 3)],
                    outputRows: [2]
                )
            ).floats
        }
    }

    @Test func `both spellings of the rotary settings mean the same`() throws {
        let new = try logits(try load { _ in })
        let old = try logits(
            try load { config in
                let rope = config["rope_parameters"]
                config["rope_parameters"] = nil
                config["rope_theta"] = rope?["rope_theta"]
                var scaling = JSONObject(rope?.object.map { Array($0.members) } ?? [])
                scaling["rope_theta"] = nil
                scaling["type"] = scaling["rope_type"]
                scaling["rope_type"] = nil
                config["rope_scaling"] = .object(scaling)
            }
        )
        let plain = try logits(
            try load { $0["rope_parameters"] = ["rope_theta": 500_000, "rope_type": "default"] }
        )
        #expect(new == old)
        #expect(new != plain)
    }

    @Test func `a head of its own wins over the flag`() throws {
        let own = try logits(try load { _ in })
        let flagged = try logits(try load { $0["tie_word_embeddings"] = true })
        #expect(own == flagged)
    }

    static let wrong: [(String, JSONValue)] = [
        ("num_hidden_layers", 0), ("num_hidden_layers", 1_000_000_000), ("hidden_size", -64),
        ("hidden_size", "64"), ("num_attention_heads", 0), ("num_key_value_heads", 3),
        ("num_key_value_heads", 8), ("head_dim", 31), ("head_dim", 0), ("vocab_size", .null),
        ("intermediate_size", .double(1.5)), ("rms_norm_eps", "x"), ("hidden_act", "gelu"),
        ("rope_parameters", ["rope_type": "yarn"]), ("rope_parameters", 7),
        ("rope_parameters", ["rope_type": "linear", "factor": 0]), ("attention_bias", 3),
        ("max_position_embeddings", .double(1e300)),
    ]

    @Test(arguments: wrong.indices)
    func `values that no model can have are errors that name the key`(_ index: Int) throws {
        let (key, value) = Self.wrong[index]
        #expect(throws: ModelError.self) { try load { $0[key] = value } }
    }

    @Test func `weights of another size are errors that name the tensor`() {
        #expect {
            try load { $0["intermediate_size"] = 97 }
        } throws: {
            guard let error = $0 as? WeightError else { return false }
            return error.tensor == "model.layers.0.mlp.gate_proj.weight"
                && error.reason == .shape(expected: [97, 64], found: [96, 64])
        }
        #expect(throws: WeightError.self) { try load { $0["attention_bias"] = true } }
        #expect(throws: ModelError.self) { try load { $0["model_type"] = "mamba" } }
    }

    @Test func `llama 3 scaling and GGUF's factors give the same frequencies`() {
        let scaled = RotaryEmbedding.frequencies(
            headSize: 64,
            base: 5e5,
            scaling: .llama3(factor: 8, low: 1, high: 4, original: 8192)
        )
        let plain = RotaryEmbedding.frequencies(headSize: 64, base: 5e5, scaling: .none)
        let factors = zip(plain, scaled).map { $0 / $1 }
        #expect(factors.first == 1 && abs((factors.last ?? 0) - 8) < 1e-5)
        let again = RotaryEmbedding.frequencies(headSize: 64, base: 5e5, scaling: .factors(factors))
        #expect(zip(scaled, again).allSatisfy { abs($0 / $1 - 1) < 1e-6 })
    }
}
