import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch
import Weights

@Suite(.serialized) struct BDHTests {
    static let fixture = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/models/bdh")

    /// The model as safetensors under other names and in another type, with another config.
    static func altered(
        config change: (inout JSONObject) -> Void = { _ in },
        tensor rename: (String) -> String? = { $0 },
        format: TensorFormat = .float32
    ) throws -> any CausalLanguageModel {
        let original = try Checkpoint(opening: fixture.path)
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var config = try #require(original.config.object)
        change(&config)
        try Data(JSONValue.object(config).bytes()).write(to: folder.appending(path: "config.json"))
        var writer = SafetensorsWriter()
        for (name, tensor) in original.tensors.sorted(by: { $0.key < $1.key }) {
            guard let renamed = rename(name) else { continue }
            let words = (0..<tensor.bytes.count / 4).map {
                tensor.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)
            }
            if format == .bfloat16 {
                writer.add(renamed, format, shape: tensor.shape, words.map { UInt16($0 >> 16) })
            } else {
                writer.add(renamed, format, shape: tensor.shape, words)
            }
        }
        try writer.data().write(to: folder.appending(path: "model.safetensors"))
        return try ModelRegistry.load(Checkpoint(opening: folder.path), dtype: .float32)
    }

    static func logits(_ model: any CausalLanguageModel, _ ids: [Int32]) throws -> [Float] {
        try Torch.checked {
            model(
                Step(
                    tokens: ids,
                    runs: [.init(state: model.makeState(capacity: ids.count), count: ids.count)],
                    outputRows: Array(ids.indices)
                )
            ).floats
        }
    }

    @Test func `names, types and configs of all writers are understood`() throws {
        let golden = try Golden("bdh")
        let expected = try Self.logits(golden.model, golden.ids)
        let same: [any CausalLanguageModel] = [
            try Self.altered(),
            try Self.altered(tensor: { "_orig_mod.\($0)" }),
            try Self.altered(tensor: { $0 == "attn.freqs" ? "attns.0.freqs" : $0 }),
            try Self.altered(config: { $0["model_type"] = nil }),
            try Self.altered(config: {
                $0["mlp_internal_dim_multiplier"] = nil
                $0["vocab_size"] = nil
            }),
        ]
        for (index, model) in same.enumerated() {
            let isSame = try Self.logits(model, golden.ids) == expected
            #expect(isSame, "case \(index)")
        }
        // Without stored phases they are computed, to the last bit or one beside it.
        let computed = try Self.logits(
            Self.altered(tensor: { $0 == "attn.freqs" ? nil : $0 }),
            golden.ids
        )
        #expect(zip(computed, expected).allSatisfy { abs($0 - $1) < 1e-4 })
        // Phases in bfloat16 would be noise; the weights' rounding is all that shows.
        let short = try Self.logits(Self.altered(format: .bfloat16), golden.ids)
        let scale = expected.map(abs).max() ?? 0
        #expect(zip(short, expected).allSatisfy { abs($0 - $1) < 0.1 * scale })
    }

    @Test func `bfloat16 stays near float32`() throws {
        let golden = try Golden("bdh")
        let folder = try Checkpoint(opening: Self.fixture.path)
        let model = try ModelRegistry.load(folder, dtype: .bfloat16)
        let found = try Self.logits(model, golden.ids)
        let scale = golden.logits.map(abs).max() ?? 0
        #expect(zip(found, golden.logits).allSatisfy { abs($0 - $1) < 0.1 * scale })
    }

    static let wrong: [(String, JSONValue)] = [
        ("n_embd", 0), ("n_embd", 64), ("n_head", 3), ("n_head", "4"), ("n_layer", -1),
        ("mlp_internal_dim_multiplier", 1_099_511_627_776), ("vocab_size", 255),
        ("mlp_internal_dim_multiplier", 8),
    ]

    @Test(arguments: wrong)
    func `numbers that do not fit are errors`(_ key: String, _ value: JSONValue) {
        #expect(throws: (any Error).self) { try Self.altered(config: { $0[key] = value }) }
    }

    @Test func `a step costs the same memory and time early and late`() throws {
        let model = try Golden("bdh").model
        #expect(model.stateBytesPerToken == 0 && model.stateBytes > 0)
        let state = model.makeState(capacity: 12_000)
        func feed(_ count: Int) throws -> Duration {
            let ids = (0..<count).map { Int32(($0 * 7 + 3) % 256) }
            return try ContinuousClock().measure {
                _ = try Torch.checked {
                    model(
                        Step(
                            tokens: ids,
                            runs: [.init(state: state, count: count)],
                            outputRows: [count - 1]
                        )
                    ).floats
                }
            }
        }
        func median() throws -> Duration { try (0..<101).map { _ in try feed(1) }.sorted()[50] }
        _ = try feed(100)
        let early = try median()
        while state.length < 10_000 { _ = try feed(500) }
        let late = try median()
        #expect(late < early * 3)
    }
}
