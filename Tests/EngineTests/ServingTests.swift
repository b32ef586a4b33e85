import EngineLink
import Foundation
import Testing

extension EngineSuites {
    /// The whole engine behind the real supervisor, on a tiny model.
    @Suite(.serialized) struct ServingTests {
        /// Prompts, lengths and parameters of all kinds, from a seed.
        private func requests(_ count: Int) -> [GenerationRequest] {
            var state: UInt64 = 42
            func dice(_ bound: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int((state >> 33) % UInt64(bound))
            }
            return (0..<count).map { number in
                let sampling = SamplingParameters(
                    temperature: [0, 0.7, 1, 1.5][dice(4)],
                    topK: [0, 40][dice(2)],
                    topP: [1, 0.9][dice(2)],
                    presencePenalty: [0, 0.5][dice(2)],
                    repetitionPenalty: [1, 1.2][dice(2)],
                    seed: UInt64(number)
                )
                return GenerationRequest(
                    prompt: (0..<1 + dice(120)).map { _ in Int32(dice(1200)) },
                    choices: (0..<1 + dice(6) / 5).map { ChoiceStart(index: $0) },
                    sampling: sampling,
                    stop: StopConditions(maxTokens: 8 + dice(40), stopTokens: [2]),
                    logprobs: number % 3 == 0 ? 2 : nil
                )
            }
        }

        @Test(arguments: EngineStage.Place.allCases)
        func `generations together say what each says alone`(_ place: EngineStage.Place) throws {
            let stage = try EngineStage(place)
            defer { stage.end() }
            let model = EngineStage.model()
            let requests = requests(16)
            let alone = try requests.map { request in
                let listener = try stage.submit(request, model: model)
                return try request.choices.map { try #require(listener.tokens(ofChoice: $0.index)) }
            }
            let listeners = try requests.map { try stage.submit($0, model: model) }
            for (index, request) in requests.enumerated() {
                for choice in request.choices {
                    let found = listeners[index].tokens(ofChoice: choice.index)
                    #expect(found == alone[index][choice.index], "request \(index)")
                    #expect(found?.last?.finish != nil)
                    #expect(found?.dropLast().allSatisfy { $0.finish == nil } == true)
                }
            }
        }

        @Test func `a full cache pushes generations out and changes no token`() throws {
            let requests = requests(16)
            func run(_ kvTokens: Int?) throws -> [[TokenEvent]?] {
                let stage = try EngineStage(.thread)
                defer { stage.end() }
                let model = EngineStage.model { $0.kvTokens = kvTokens }
                let listeners = try requests.map { try stage.submit($0, model: model) }
                return listeners.map { $0.tokens() }
            }
            let roomy = try run(nil)
            #expect(roomy.allSatisfy { $0?.isEmpty == false })
            #expect(try run(256) == roomy)
        }

        @Test func `an engine's second life goes on where the first one ended`() throws {
            let model = EngineStage.model()
            let whole = GenerationRequest(
                prompt: [5, 6, 7, 8],
                sampling: SamplingParameters(temperature: 1, seed: 3),
                stop: StopConditions(maxTokens: 24)
            )
            let stage = try EngineStage(.thread)
            defer { stage.end() }
            let all = try #require(try stage.submit(whole, model: model).tokens()).map(\.token)
            var rest = whole
            rest.choices = [ChoiceStart(index: 0, generated: Array(all.prefix(10)))]
            let found = try #require(try stage.submit(rest, model: model).tokens()).map(\.token)
            #expect(found == Array(all.dropFirst(10)))
        }

        @Test func `a killed engine process costs no token`() throws {
            let stage = try EngineStage(.process)
            defer { stage.end() }
            let model = EngineStage.model()
            let request = GenerationRequest(
                prompt: [5, 6, 7, 8],
                sampling: SamplingParameters(temperature: 1, seed: 3),
                stop: StopConditions(maxTokens: 200)
            )
            let calm = try #require(try stage.submit(request, model: model).tokens())
            let listener = try stage.submit(request, model: model)
            let end = Date() + 20
            while Date() < end,
                !listener.events.contains(where: { if case .tokens = $0 { true } else { false } })
            {
                usleep(200)
            }
            if let pid = stage.supervisor.status().pid { kill(pid, SIGKILL) }
            #expect(listener.tokens() == calm)
            #expect(listener.events.contains(.restarted))
        }

        @Test func `a prompt beyond the context fails alone`() throws {
            let stage = try EngineStage(.thread)
            defer { stage.end() }
            let model = EngineStage.model { $0.maxContext = 32 }
            let stop = StopConditions(maxTokens: 4)
            let long = GenerationRequest(prompt: .init(repeating: 5, count: 40), stop: stop)
            #expect(try stage.submit(long, model: model).failure?.code == "context_length_exceeded")
            let strange = GenerationRequest(prompt: [1_000_000], stop: stop)
            #expect(try stage.submit(strange, model: model).failure != nil)
            #expect(
                try stage.submit(.init(prompt: [5], stop: stop), model: model).tokens()?.count == 4
            )
        }

        @Test func `what cannot be loaded says why`() throws {
            func cause(_ change: (inout LoadRequest) -> Void) throws -> String? {
                let stage = try EngineStage(.thread)
                defer { stage.end() }
                let request = GenerationRequest(prompt: [5], stop: StopConditions(maxTokens: 1))
                return try stage.submit(request, model: EngineStage.model(change)).failure?.message
            }
            #expect(try cause { $0.path = "/nowhere" } == LoadFailureCause.notFound.sentence)
            #expect(try cause { $0.device = "cuda" } == LoadFailureCause.device.sentence)
            #expect(try cause { $0.device = "cuda:1" } == LoadFailureCause.device.sentence)
            #expect(try cause { $0.dtype = "int3" } == LoadFailureCause.unsupported.sentence)
            #expect(try cause { $0.quantize = "int3" } == LoadFailureCause.unsupported.sentence)
            let recurrent = try cause {
                $0.path = EngineStage.fixture("bdh")
                $0.quantize = "int8"
            }
            #expect(recurrent == LoadFailureCause.unsupported.sentence)
        }

        @Test func `another quantisation is another engine, which says what it keeps`() throws {
            let request = GenerationRequest(prompt: [5, 6], stop: StopConditions(maxTokens: 3))
            for (word, type, kept) in [
                ("none", "float32", "float32"), ("int4", "float32", "int4-float32"),
                ("nf4", "float32", "nf4-float32"), ("int8", "auto", "int8-"),
            ] {
                let stage = try EngineStage(.thread)
                defer { stage.end() }
                let model = EngineStage.model {
                    $0.quantize = word
                    $0.dtype = type
                }
                #expect(try stage.submit(request, model: model).tokens()?.isEmpty == false)
                let loaded = try #require(stage.supervisor.status().model)
                #expect(loaded.numbers.hasPrefix(kept), "\(loaded.numbers)")
                #expect(!model.isSameEngine(as: EngineStage.model()) || word == "none")
            }
        }

        @Test func `the compute type of bitsandbytes is for its 4 bits alone`() throws {
            let request = GenerationRequest(prompt: [5, 6], stop: StopConditions(maxTokens: 1))
            for (word, kept) in [("nf4", "nf4-bfloat16"), ("int4", "int4-float32")] {
                let stage = try EngineStage(.thread)
                defer { stage.end() }
                let model = EngineStage.model {
                    $0.quantize = word
                    $0.bnbComputeType = "bfloat16"
                }
                #expect(try stage.submit(request, model: model).tokens()?.isEmpty == false)
                #expect(stage.supervisor.status().model?.numbers == kept)
            }
        }

        @Test(arguments: ["auto", "float16", "bfloat16", "float32"])
        func `every type of numbers serves`(_ dtype: String) throws {
            let stage = try EngineStage(.thread)
            defer { stage.end() }
            let request = GenerationRequest(prompt: [5, 6], stop: StopConditions(maxTokens: 3))
            let model = EngineStage.model {
                $0.dtype = dtype
                $0.device = "auto"
            }
            #expect(try stage.submit(request, model: model).tokens()?.isEmpty == false)
            let loaded = stage.supervisor.status().model
            #expect(loaded?.contextLength == 256)
            #expect(loaded?.device == "cpu")
            #expect((loaded?.loadSeconds ?? 0) > 0 && (loaded?.residentBytes ?? 0) > 0)
        }
    }
}
