internal import Checkpoints
internal import Foundation
internal import Models
internal import NN
internal import Torch

/// The parity tool: logits of every position of a prompt, and a greedy continuation.
public enum LogitsTool {
    /// Computes and writes a safetensors file with `logits` [T, V], `input_ids` [T] and, where asked,
    /// `greedy_tokens`.
    /// - Throws: an error whose description names file, tensor, expected and found.
    public static func run(
        model path: String,
        ids: [Int32],
        dtype: String,
        device: String,
        greedy: Int,
        output: String
    ) throws {
        guard let type = ModelRegistry.computeType(dtype) else {
            throw ModelError.config(
                key: "dtype",
                found: dtype,
                expected: "float32, bfloat16 or auto"
            )
        }
        Torch.start(threads: Memory.processors)
        let checkpoint = try Checkpoint(opening: path)
        let model = try ModelRegistry.load(
            checkpoint,
            dtype: type,
            form: ModelRegistry.weightForm(dtype),
            device: device == "auto" ? "cpu" : device
        )
        guard !ids.isEmpty, ids.allSatisfy({ $0 >= 0 && Int($0) < model.vocabularySize }) else {
            throw ModelError.config(
                key: "ids",
                found: "\(ids.count) ids",
                expected: "ids below \(model.vocabularySize)"
            )
        }
        guard greedy >= 0, ids.count + greedy <= model.contextLength else {
            throw ModelError.config(
                key: "ids",
                found: "\(ids.count) + \(greedy) tokens",
                expected: "at most \(model.contextLength)"
            )
        }
        let state = model.makeState(capacity: ids.count + greedy)
        let logits = try Torch.checked {
            model(
                Step(
                    tokens: ids,
                    runs: [.init(state: state, count: ids.count)],
                    outputRows: Array(ids.indices)
                )
            ).floats
        }
        var writer = SafetensorsWriter()
        writer.add("logits", .float32, shape: [ids.count, model.vocabularySize], logits)
        writer.add("input_ids", .int64, shape: [ids.count], ids.map(Int64.init))
        if greedy > 0 {
            let tokens = try continuation(
                model,
                state,
                Array(logits.suffix(model.vocabularySize)),
                greedy
            )
            writer.add("greedy_tokens", .int64, shape: [tokens.count], tokens.map(Int64.init))
        }
        try writer.data().write(to: URL(fileURLWithPath: output))
    }

    private static func continuation(
        _ model: any CausalLanguageModel,
        _ state: any SequenceState,
        _ last: [Float],
        _ count: Int
    ) throws -> [Int32] {
        var tokens: [Int32] = []
        var row = last
        while true {
            let best = row.indices.max { row[$0] < row[$1] || (row[$0] == row[$1] && $0 > $1) } ?? 0
            tokens.append(Int32(clamping: best))
            guard tokens.count < count else { return tokens }
            row = try Torch.checked {
                model(
                    Step(
                        tokens: [tokens[tokens.count - 1]],
                        runs: [.init(state: state, count: 1)],
                        outputRows: [0]
                    )
                ).floats
            }
        }
    }
}
