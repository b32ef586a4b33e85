import Checkpoints
import Foundation
import Testing
import Torch
import Weights

@Suite struct InventedWeightsTests {
    private func checkpoint(tied: Bool) throws -> Checkpoint {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let config = #"{"model_type": "qwen2", "tie_word_embeddings": \#(tied)}"#
        try Data(config.utf8).write(to: folder.appending(path: "config.json"))
        return try Checkpoint(inventing: folder.path)
    }

    @Test func `a tensor has its shape, sane values, and the same ones each time`() throws {
        let first = WeightReader(try checkpoint(tied: true), dtype: .float32)
        let second = WeightReader(try checkpoint(tied: true), dtype: .float32)
        let name = "model.layers.0.mlp.up_proj.weight"
        let values = try first.tensor(name, [300, 200]).floats
        #expect(values.count == 60_000)
        let mean = values.reduce(0, +) / 60_000
        let deviation = (values.reduce(0) { $0 + $1 * $1 } / 60_000).squareRoot()
        #expect(abs(mean) < 0.001)
        #expect(abs(deviation - 0.02) < 0.001)
        // Reading gives the pages back; nothing is lost by that.
        #expect(try first.tensor(name, [300, 200]).floats == values)
        #expect(try second.tensor(name, [300, 200]).floats == values)
        #expect(try first.tensor("model.layers.1.mlp.up_proj.weight", [300, 200]).floats != values)
    }

    @Test func `scales of norms are one and biases are not`() throws {
        let reader = WeightReader(try checkpoint(tied: true), dtype: .float32)
        #expect(try reader.tensor("model.norm.weight", [64]).floats.allSatisfy { $0 == 1 })
        let bias = try reader.tensor("model.layers.0.self_attn.q_proj.bias", [64]).floats
        #expect(bias.allSatisfy { abs($0) < 0.2 } && bias.contains { $0 != 0 })
    }

    @Test func `there is a head where the embedding does not serve`() throws {
        #expect(!WeightReader(try checkpoint(tied: true), dtype: .float32).has("lm_head.weight"))
        let reader = WeightReader(try checkpoint(tied: false), dtype: .float32)
        #expect(reader.has("lm_head.weight"))
        #expect(!reader.has("rope_freqs.weight"))
    }

    @Test func `a tensor can be larger than the noise behind it`() throws {
        let invented = try #require(try checkpoint(tied: true).invented)
        let entry = try #require(invented.entry("model.embed_tokens.weight", [40_000, 1024]))
        #expect(entry.bytes.count == 81_920_000)
        #expect(entry.bytes[81_919_999] != 0 || entry.bytes[81_919_997] != 0)
        #expect(invented.entry("model.embed_tokens.weight", [1 << 40, 1]) == nil)
        #expect(invented.entry("model.embed_tokens.weight", [.max, .max]) == nil)
        #expect(invented.shapes == ["model.embed_tokens.weight": [40_000, 1024]])
    }
}
