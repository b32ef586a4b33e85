import Engine
import EngineLink
import Logging
import NN
import Scheduling
import Synchronization
import Testing
import Torch

/// Everything here uses the compute threads, which serve one engine at a time.
@Suite(.serialized) enum EngineSuites {}

extension EngineSuites {
    /// The loop's work over a model of a few lines.
    @Suite(.serialized) struct ServedEngineTests {
        private final class Rig {
            let model = HashModel()
            let engine: ServedEngine
            var tokens: [GenerationID: [Int: [Int32]]] = [:]
            var finishes: [GenerationID: [EngineFinish]] = [:]
            var failures: [GenerationID: GenerationFailure] = [:]
            var steps = 0

            init(slots: Int = 4, kvTokens: Int = 200, stepTokens: Int = 16) {
                let limits = SchedulerLimits(
                    slots: slots,
                    contextLength: 64,
                    kvTokens: kvTokens,
                    stepTokens: stepTokens
                )
                engine = ServedEngine(
                    model: model,
                    limits: limits,
                    description: LoadedModel(
                        modelID: "hash",
                        revision: "1",
                        vocabularySize: 32,
                        contextLength: 64,
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

            func submit(
                _ id: GenerationID,
                _ prompt: [Int32],
                max: Int = 8,
                stop: [Int32] = [],
                choices: [ChoiceStart] = [ChoiceStart(index: 0)],
                logprobs: Int? = nil
            ) -> GenerationFailure? {
                engine.admit(
                    id,
                    GenerationRequest(
                        prompt: prompt,
                        choices: choices,
                        sampling: SamplingParameters(temperature: 0),
                        stop: StopConditions(maxTokens: max, stopTokens: stop),
                        logprobs: logprobs
                    )
                )
            }

            func step() {
                steps += 1
                for message in engine.step() {
                    switch message {
                    case .failed(let id, let failure): failures[id] = failure
                    case .step(let step):
                        for token in step.tokens {
                            tokens[token.id, default: [:]][token.event.choice, default: []]
                                .append(token.event.token)
                            if let finish = token.event.finish {
                                finishes[token.id, default: []].append(finish)
                            }
                        }
                    default: break
                    }
                }
            }

            func run() { while !engine.isIdle, steps < 2000 { step() } }
        }

        @Test func `many generations at once say what each says alone`() {
            let rig = Rig(slots: 6, kvTokens: 70)
            for id in 1...20 as ClosedRange<GenerationID> {
                let prompt = (0..<Int32(id)).map { 4 + ($0 * Int32(id)) % 28 }
                #expect(rig.submit(id, prompt, max: 12) == nil)
            }
            rig.run()
            for id in 1...20 as ClosedRange<GenerationID> {
                let prompt = (0..<Int32(id)).map { 4 + ($0 * Int32(id)) % 28 }
                #expect(rig.tokens[id]?[0] == HashModel.continuation(prompt, 12))
                #expect(rig.finishes[id] == [.length])
            }
            #expect(rig.engine.stats.usedSlots == 0 && rig.engine.stats.usedTokens == 0)
            #expect(rig.model.states.allSatisfy { $0.length == 0 })
        }

        @Test func `a row of NaN ends its generation only`() {
            let rig = Rig()
            rig.model.poison = 1
            _ = rig.submit(1, [5, 6])
            _ = rig.submit(2, [5, 1])
            rig.run()
            #expect(rig.failures == [2: .engineFailed])
            #expect(rig.tokens[2] == nil)
            #expect(rig.tokens[1]?[0] == HashModel.continuation([5, 6], 8))
        }

        @Test func `a step that fails ends the generations in it, and the engine goes on`() {
            let rig = Rig(stepTokens: 5)
            rig.model.bomb = 2
            _ = rig.submit(1, [5, 6])
            _ = rig.submit(2, [7, 8, 2])
            // There is no room for this one in the step that fails.
            _ = rig.submit(3, [9, 9])
            rig.run()
            #expect(rig.failures == [1: .engineFailed, 2: .engineFailed])
            #expect(rig.tokens[3]?[0] == HashModel.continuation([9, 9], 8))
            #expect(rig.engine.stats.usedTokens == 0)
            #expect(rig.submit(4, [5, 6]) == nil)
            rig.run()
            #expect(rig.tokens[4]?[0] == HashModel.continuation([5, 6], 8))
        }

        @Test func `prompts that cannot be run are refused with a code`() {
            let rig = Rig()
            #expect(rig.submit(1, [5, 32])?.code == "invalid_prompt")
            #expect(rig.submit(1, [-1])?.code == "invalid_prompt")
            let outside = [ChoiceStart(index: 0, generated: [99])]
            #expect(rig.submit(1, [5], choices: outside)?.code == "invalid_prompt")
            let long = rig.submit(1, .init(repeating: 5, count: 64))
            #expect(long?.code == "context_length_exceeded")
            #expect(rig.submit(1, .init(repeating: 5, count: 63)) == nil)
            #expect(rig.submit(1, [5])?.code == "invalid_prompt")
        }

        @Test func `choices share the prompt and end one by one`() {
            let rig = Rig()
            let choices = (0..<3).map { ChoiceStart(index: $0) }
            _ = rig.submit(1, .init(repeating: 5, count: 40), max: 6, choices: choices)
            rig.step()
            rig.step()
            rig.step()
            rig.engine.cancel(1, choice: 1)
            rig.run()
            let wanted = HashModel.continuation(.init(repeating: 5, count: 40), 6)
            #expect(rig.tokens[1]?[0] == wanted && rig.tokens[1]?[2] == wanted)
            #expect((rig.tokens[1]?[1]?.count ?? 0) < 6)
        }

        @Test func `tokens of an earlier life are not said again`() {
            let rig = Rig()
            let all = HashModel.continuation([5, 6], 8)
            let choice = ChoiceStart(index: 0, generated: Array(all.prefix(3)))
            _ = rig.submit(1, [5, 6], choices: [choice])
            rig.run()
            #expect(rig.tokens[1]?[0] == Array(all.dropFirst(3)))
        }

        @Test func `cancelled generations leave no memory behind`() {
            let rig = Rig()
            for id in 1...4 as ClosedRange<GenerationID> {
                _ = rig.submit(id, [5, Int32(id)], max: 50)
            }
            for _ in 0..<5 { rig.step() }
            #expect(rig.engine.stats.usedTokens > 0)
            rig.engine.cancelAll()
            #expect(!rig.engine.isIdle)
            rig.run()
            #expect(rig.engine.isIdle)
            #expect(rig.model.states.allSatisfy { $0.length == 0 })
        }

        @Test func `a stop token ends a generation and is reported`() {
            let rig = Rig()
            let all = HashModel.continuation([5, 6], 8)
            _ = rig.submit(1, [5, 6], stop: [all[2]])
            rig.run()
            let end = all.firstIndex(of: all[2]) ?? 2
            #expect(rig.tokens[1]?[0] == Array(all[...end]))
            #expect(rig.finishes[1] == [.stop])
        }
    }
}
