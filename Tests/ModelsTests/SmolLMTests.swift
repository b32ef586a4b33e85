import Checkpoints
import Foundation
import Models
import NN
import Testing
import Torch
import Weights

/// The default model, where `make deps` has put it.
@Suite struct SmolLMTests {
    static let path = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: ".deps/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf").path

    @Test(
        .enabled(if: FileManager.default.fileExists(atPath: path)),
        arguments: [Tensor.DType.float32, .bfloat16],
        [WeightForm.dense, .stored]
    )
    func `the default model knows the capital of France`(
        _ dtype: Tensor.DType,
        _ form: WeightForm
    ) throws {
        let checkpoint = try Checkpoint(opening: Self.path)
        let model = try ModelRegistry.load(checkpoint, dtype: dtype, form: form)
        let state = model.makeState(capacity: 64)
        // <|im_start|>user … What is the capital of France?<|im_end|> … <|im_start|>assistant
        var next: [Int32] = [
            1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198,
        ]
        var answer: [Int32] = []
        while answer.count < 8 {
            let step = Step(
                tokens: next,
                runs: [.init(state: state, count: next.count)],
                outputRows: [next.count - 1]
            )
            let sampled = try Torch.checked {
                Sampler().sample(logits: model(step), rows: [SamplerRow()])
            }
            next = [try #require(sampled.first).get().token]
            answer += next
        }
        // "The capital of France is Paris.<|im_end|>"
        #expect(answer == [504, 3575, 282, 4649, 314, 7042, 30, 2])
    }
}
