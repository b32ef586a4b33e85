import EngineLink
import Foundation
import Testing

extension EngineSuites {
    /// The engine's process on the emulated device.
    @Suite(.serialized) struct DeviceServingTests {
        private static let library = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: ".build/cuda/libtorchgate_emulated.so").path

        private func stage(_ more: [String: String] = [:]) throws -> EngineStage {
            // Other tests change this process's own environment.
            let variables = [
                "TORCHGATE_DEVICE_LIBRARY": Self.library, "TORCHGATE_EMULATED_BYTES": "-1",
            ].merging(more) { $1 }
            return try EngineStage(.process, environment: variables)
        }

        private let requests = (0..<6).map { number in
            GenerationRequest(
                prompt: (0...Int32(number * 9)).map { $0 * 7 % 1200 },
                choices: (0..<1 + number / 5).map { ChoiceStart(index: $0) },
                sampling: SamplingParameters(
                    temperature: number % 2 == 0 ? 0 : 0.8,
                    topK: number == 3 ? 20 : 0,
                    presencePenalty: number == 1 ? 0.5 : 0,
                    seed: UInt64(number)
                ),
                stop: StopConditions(maxTokens: 12 + number * 3),
                logprobs: number == 2 ? 3 : nil
            )
        }

        private func run(_ stage: EngineStage, _ device: String) throws -> [[[Int32]]] {
            let model = EngineStage.model { $0.device = device }
            let listeners = try requests.map { try stage.submit($0, model: model) }
            return try zip(listeners, requests).map { listener, request in
                try request.choices.map {
                    try #require(listener.tokens(ofChoice: $0.index)).map(\.token)
                }
            }
        }

        @Test func `generations on the device say what they say on the CPU`() throws {
            let (plain, device) = (try EngineStage(.process), try stage())
            defer {
                plain.end()
                device.end()
            }
            let expected = try run(plain, "cpu")
            #expect(try run(device, "cuda") == expected)
            #expect(device.supervisor.status().model?.device == "emulated:0")
        }

        @Test func `a lost device ends the process, and generations go on in the next one`() throws
        {
            let (plain, device) = (
                try EngineStage(.process), try stage(["TORCHGATE_EMULATED_FAULT_AFTER": "1200"])
            )
            defer {
                plain.end()
                device.end()
            }
            let expected = try run(plain, "cpu")
            #expect(try run(device, "auto") == expected)
            #expect(device.supervisor.status().crashes > 0)
        }

        @Test func `a model that is too large for the device says so`() throws {
            let stage = try stage(["TORCHGATE_EMULATED_BYTES": "1000000"])
            defer { stage.end() }
            let request = GenerationRequest(prompt: [5], stop: StopConditions(maxTokens: 1))
            let model = EngineStage.model { $0.device = "cuda" }
            let failure = try stage.submit(request, model: model).failure
            #expect(failure?.message.contains("not enough memory to load") ?? false)
        }
    }
}
