import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch
import Weights

/// A tiny model and what transformers computed with it.
struct Golden {
    let model: any CausalLanguageModel
    let ids: [Int32]
    let logits: [Float]
    let greedy: [Int32]

    init(
        _ name: String,
        in group: String = "models",
        dtype: Tensor.DType = .float32,
        form: WeightForm = .dense
    ) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent()
            .appending(path: "Fixtures/\(group)/\(name)").path
        model = try ModelRegistry.load(Checkpoint(opening: folder), dtype: dtype, form: form)
        let files = ["golden.safetensors", "golden_chat.safetensors"].map { "\(folder)/\($0)" }
        let path = try #require(files.first { FileManager.default.fileExists(atPath: $0) })
        let file = try Data(contentsOf: URL(filePath: path))
        let size = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONValue.parse([UInt8](file[8..<8 + size]))
        func bytes(_ name: String) throws -> Data {
            let numbers = header[name]?["data_offsets"]?.array?.compactMap(\.int)
            let place = try #require(numbers)
            return file[8 + size + place[0]..<8 + size + place[1]]
        }
        func values<T: BitwiseCopyable>(_ name: String, _: T.Type) throws -> [T] {
            try bytes(name).withUnsafeBytes { raw in
                (0..<raw.count / MemoryLayout<T>.size).map {
                    raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
                }
            }
        }
        ids = try values("input_ids", Int64.self).map { Int32($0) }
        greedy = try values("greedy_tokens", Int64.self).map { Int32($0) }
        logits = try values("logits", Float.self)
    }

    /// The model's own greedy continuation, as long as that of transformers.
    func continued() throws -> [Int32] {
        let state = model.makeState(capacity: 128)
        var next = ids
        var generated: [Int32] = []
        while generated.count < greedy.count {
            let step = Step(
                tokens: next,
                runs: [.init(state: state, count: next.count)],
                outputRows: [next.count - 1]
            )
            let rows = try Torch.checked {
                Sampler().sample(logits: model(step), rows: [SamplerRow()])
            }
            next = [try #require(rows.first).get().token]
            generated += next
        }
        return generated
    }
}

@Suite struct GoldenTests {
    static let names = [
        "bdh", "llama-tied", "llama-llama3rope", "llama-bias", "mistral", "qwen2", "qwen2-window",
        "qwen3", "qwen3-yarn",
    ]

    @Test(arguments: names)
    func `logits of every position are those of transformers`(_ name: String) throws {
        let golden = try Golden(name)
        let state = golden.model.makeState(capacity: 128)
        let all = try Torch.checked {
            golden.model(
                Step(
                    tokens: golden.ids,
                    runs: [.init(state: state, count: golden.ids.count)],
                    outputRows: Array(golden.ids.indices)
                )
            )
        }
        #expect(all.shape == [golden.ids.count, golden.model.vocabularySize])
        let worst = zip(all.floats, golden.logits).map { abs($0 - $1) }.max() ?? .infinity
        #expect(worst <= 1e-4)
        #expect(state.length == golden.ids.count)
    }

    @Test(arguments: names)
    func `the greedy continuation is that of transformers`(_ name: String) throws {
        let golden = try Golden(name)
        #expect(try golden.continued() == golden.greedy)
    }
}
