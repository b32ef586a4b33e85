import Checkpoints
import Engine
import EngineLink
import Foundation
import Logging
import Models
import NN
import Scheduling
import Testing
import Torch

extension EngineSuites {
    /// A model whose states cannot be cut back, through the loop: choices, pre-emption, re-submission.
    @Suite(.serialized) struct RecurrentServingTests {
        static let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/models/bdh").path

        func engine(slots: Int, kvTokens: Int) throws -> ServedEngine {
            let checkpoint = try Checkpoint(opening: Self.folder)
            let model = try ModelRegistry.load(checkpoint, dtype: .float32)
            var limits = SchedulerLimits(
                slots: slots,
                contextLength: 200,
                kvTokens: kvTokens,
                stepTokens: 16
            )
            limits.sharesPrefixes = model.statesRewind
            return ServedEngine(
                model: model,
                limits: limits,
                description: LoadedModel(
                    modelID: "bdh",
                    revision: "1",
                    vocabularySize: 256,
                    contextLength: 200,
                    slots: slots,
                    kvTokens: kvTokens,
                    dtype: "float32",
                    device: "cpu",
                    residentBytes: 0,
                    loadSeconds: 0
                ),
                log: .silent
            )
        }

        /// The greedy tokens of every choice of every request.
        func run(_ engine: ServedEngine, _ requests: [(prompt: [Int32], choices: [ChoiceStart])])
            -> [[Int: [Int32]]]
        {
            for (index, request) in requests.enumerated() {
                let failure = engine.admit(
                    GenerationID(index),
                    GenerationRequest(
                        prompt: request.prompt,
                        choices: request.choices,
                        sampling: SamplingParameters(temperature: 0),
                        stop: StopConditions(maxTokens: 30)
                    )
                )
                #expect(failure == nil)
            }
            var tokens = [[Int: [Int32]]](repeating: [:], count: requests.count)
            for _ in 0..<2000 where !engine.isIdle {
                for case .step(let step) in engine.step() {
                    for token in step.tokens {
                        tokens[Int(token.id)][token.event.choice, default: []]
                            .append(token.event.token)
                    }
                }
            }
            #expect(engine.isIdle)
            return tokens
        }

        @Test func `choices, pre-emption and re-submission give what each gives alone`() throws {
            let prompts = (1...4).map { seed in
                (0..<20 + seed).map { Int32(($0 * 37 * seed) % 256) }
            }
            let alone = try prompts.map {
                try run(engine(slots: 1, kvTokens: 200), [($0, [ChoiceStart(index: 0)])])[0][0]
            }
            #expect(Set(alone.map { $0?.count }) == [30])
            // Room for three of the six sequences at their full length.
            let together = try run(
                engine(slots: 4, kvTokens: 150),
                [
                    (prompts[0], [0, 1, 2].map { ChoiceStart(index: $0) }),
                    (prompts[1], [ChoiceStart(index: 0)]),
                    (prompts[2], [ChoiceStart(index: 0, generated: Array(alone[2]?[..<11] ?? []))]),
                    (prompts[3], [ChoiceStart(index: 0)]),
                ]
            )
            for choice in 0..<3 { #expect(together[0][choice] == alone[0]) }
            #expect(together[1][0] == alone[1])
            #expect(together[2][0] == alone[2].map { Array($0[11...]) })
            #expect(together[3][0] == alone[3])
        }
    }
}
