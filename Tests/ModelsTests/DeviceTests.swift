import Checkpoints
import Models
import NN
import Testing
import Torch
import Weights

/// Models on the device: everything but the GPU itself.
@Suite struct DeviceTests {
    @Test(arguments: GoldenTests.names)
    func `logits on the device are those of transformers`(_ name: String) throws {
        try EmulatedDevice.run {
            let golden = try Golden(name)
            let state = golden.model.makeState(capacity: 128)
            let all = try Torch.checked {
                golden.model(
                    Step(
                        tokens: golden.ids,
                        runs: [.init(state: state, count: golden.ids.count)],
                        outputRows: Array(golden.ids.indices)
                    )
                ).floats
            }
            let worst = zip(all, golden.logits).map { abs($0 - $1) }.max() ?? .infinity
            #expect(worst <= 1e-4)
            #expect(all.count == golden.logits.count)
        }
    }

    @Test(arguments: ["llama-tied", "qwen2-window", "qwen3"])
    func `the greedy continuation by graphs is that of transformers`(_ name: String) throws {
        try EmulatedDevice.run {
            let golden = try Golden(name)
            let graphs = DecodeGraphs(golden.model)
            let state = golden.model.makeState(capacity: 128)
            var tokens: [Int32] = []
            var next = golden.ids
            while tokens.count < golden.greedy.count {
                tokens.append(try decode(golden.model, graphs, [(state, next)])[0].token)
                next = tokens.suffix(1)
            }
            #expect(tokens == golden.greedy)
            #expect(graphs.refusal == nil)
            #expect(graphs.replays > 0)
        }
    }

    @Test(arguments: ["vl-qwen2_5", "vl-qwen3"])
    func `images and clips on the device are those of transformers`(_ name: String) throws {
        try EmulatedDevice.run {
            let golden = try MediaGolden(name)
            for prompt in golden.cases where prompt.name != "large" {
                let features = try golden.features(prompt.media)
                for (index, found) in features.enumerated() {
                    let expected = try #require(golden.golden("\(prompt.name).features.\(index)"))
                    #expect(largest(found.rows.floats, expected) < 1e-4, "\(prompt.name)")
                }
                let state = golden.model.makeState(capacity: 256)
                let all = try Torch.checked {
                    golden.model(try golden.step(prompt, 0..<prompt.ids.count, features, state))
                        .floats
                }
                let expected = try #require(golden.golden("\(prompt.name).logits"))
                #expect(largest(all, expected) < 1e-3, "\(prompt.name)")
            }
        }
    }

    @Test(arguments: Quantisation.allCases)
    func `quantised weights on the device are those of the CPU`(_ quantisation: Quantisation) throws
    {
        func load() throws -> any CausalLanguageModel {
            let form = WeightForm(dtype: "auto", quantize: quantisation.rawValue)
            return try ModelRegistry.load(
                Checkpoint(opening: QuantisedModelTests.fixture),
                dtype: .float32,
                form: #require(form)
            )
        }
        let expected = try QuantisedModelTests.logits(load())
        let (whole, parts) = try EmulatedDevice.run {
            let model = try load()
            return (
                try QuantisedModelTests.logits(model),
                try QuantisedModelTests.logits(model, chunks: [1, 4, 17, 1, 7])
            )
        }
        // The CPU rounds the inputs of products to 8 bits, the device does not.
        #expect(QuantisedModelTests.distance(whole, expected) < 0.05)
        // Few rows take another kernel than many.
        #expect(QuantisedModelTests.distance(parts, whole) < 1e-4)
    }

    @Test(arguments: ["bnb-int8", "fp8", "fp8-partial", "gptq-8", "gptq-order"])
    func `checkpoints that stay coded on the device give what transformers gives`(_ name: String)
        throws
    {
        try EmulatedDevice.run {
            let golden = try Golden(name, in: "quantised", form: .stored)
            // The device rounds no inputs; GPTQ's values are not rounded to half precision, as the reference's.
            for chunks in [[16], [1, 6, 1, 8]] {
                let found = try QuantisedCheckpointTests.logits(golden, chunks: chunks)
                let far = QuantisedModelTests.distance(found, golden.logits)
                #expect(far <= (name.hasPrefix("gptq") ? 1e-3 : 1e-5), "\(far)")
            }
            #expect(try golden.continued() == golden.greedy)
        }
    }

    @Test func `bfloat16 and float16 on the device stay near float32`() throws {
        let exact = try QuantisedModelTests.logits(Golden("qwen3").model)
        for (dtype, bound) in [(Tensor.DType.bfloat16, Float(0.05)), (.float16, 0.01)] {
            let found = try EmulatedDevice.run {
                try QuantisedModelTests.logits(Golden("qwen3", dtype: dtype).model)
            }
            #expect(QuantisedModelTests.distance(found, exact) < bound)
        }
    }

    @Test func `graphs answer what steps without them answer`() throws {
        let prompts: [[Int32]] = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8]]
        func generate(graphs isGraphic: Bool) throws -> [[Sampled]] {
            try EmulatedDevice.run {
                let model = try Golden("qwen2").model
                let graphs = DecodeGraphs(model)
                let states = prompts.map { _ in model.makeState(capacity: 128) }
                var tokens = prompts
                var drawn: [[Sampled]] = []
                for step in 0..<12 {
                    // One of them ends on the way: another number of rows.
                    let alive = step < 8 ? Array(prompts.indices) : [0, 2]
                    let answers = try decode(
                        model,
                        isGraphic ? graphs : nil,
                        alive.map { (states[$0], tokens[$0]) },
                        at: step
                    )
                    for (place, answer) in zip(alive, answers) { tokens[place] = [answer.token] }
                    drawn.append(answers)
                }
                #expect(!isGraphic || (graphs.refusal == nil && graphs.replays > 6))
                return drawn
            }
        }
        let plain = try generate(graphs: false)
        let graphic = try generate(graphs: true)
        #expect(graphic.map { $0.map(\.token) } == plain.map { $0.map(\.token) })
        for (a, b) in zip(graphic.joined(), plain.joined()) {
            #expect(abs((a.logprob ?? 9) - (b.logprob ?? 0)) < 1e-4)
            #expect(a.top.map(\.token) == b.top.map(\.token))
        }
    }

    @Test func `a step starts while the tokens that it follows are on their way`() throws {
        let prompts: [[Int32]] = [[5, 6, 7], [9], [1, 2, 3, 4, 5]]
        // Which sequences take part in a step; their rows change places.
        let parts = [[0, 1, 2], [0, 1, 2], [2, 1, 0], [2, 0], [0, 2], [0, 2]]
        try EmulatedDevice.run {
            let model = try Golden("qwen2").model
            let graphs = DecodeGraphs(model)
            func begin() throws -> (states: [any SequenceState], tokens: [Int32]) {
                let states = prompts.map { _ in model.makeState(capacity: 128) }
                let drawn = try decode(model, nil, zip(states, prompts).map { ($0, $1) })
                return (states, drawn.map(\.token))
            }
            func known() throws -> [[Int32]] {
                var (states, tokens) = try begin()
                return try parts.enumerated().map { number, part in
                    let sequences = part.map { (states[$0], [tokens[$0]]) }
                    let drawn = try decode(model, graphs, sequences, at: number).map(\.token)
                    for (sequence, token) in zip(part, drawn) { tokens[sequence] = token }
                    return drawn
                }
            }
            // The first two of a kind are no replays.
            let expected = try known()
            #expect(try known() == expected)
            let (states, tokens) = try begin()
            var drawn: [[Int32]] = []
            for (number, part) in parts.enumerated() {
                let sequences = part.map { (states[$0], number == 0 ? [tokens[$0]] : [0]) }
                let (step, rows) = step(sequences, at: number)
                let follows = part.map { sequence in
                    Int32(number == 0 ? -1 : parts[number - 1].firstIndex(of: sequence) ?? -1)
                }
                try Torch.checked {
                    let started = graphs.start(step, rows: rows, follows: follows)
                    if case .running? = started {} else { Issue.record("not started") }
                    if number > 0 { drawn.append(try graphs.answers().map { try $0.get().token }) }
                }
            }
            drawn.append(try Torch.checked { try graphs.answers().map { try $0.get().token } })
            #expect(drawn == expected)
        }
    }

    @Test func `a slot is copied, cut and used again`() throws {
        try EmulatedDevice.run {
            let golden = try Golden("llama-tied")
            let ids = golden.ids
            let whole = golden.model.makeState(capacity: 128)
            _ = try logits(golden.model, whole, ids)
            let half = ids.count / 2
            let copy = golden.model.makeState(capacity: 128)
            copy.copy(from: whole, count: half)
            #expect(copy.length == half)
            let continued = try logits(golden.model, copy, Array(ids[half...]))
            whole.truncate(to: half)
            let again = try logits(golden.model, whole, Array(ids[half...]))
            #expect(continued == again)
            let expected = Array(golden.logits.suffix(continued.count))
            #expect((zip(continued, expected).map { abs($0 - $1) }.max() ?? 1) < 1e-4)
            whole.release()
            #expect(try logits(golden.model, whole, ids).suffix(continued.count).count > 0)
            #expect(whole.length == ids.count)
        }
    }

    @Test func `a sequence without memory fails and leaves the others`() throws {
        try EmulatedDevice.run(bytes: 200_000) {
            let golden = try Golden("llama-tied")
            let state = golden.model.makeState(capacity: 1 << 16)
            let long = [Int32](repeating: 3, count: 1000)
            let error = #expect(throws: TorchError.self) { try logits(golden.model, state, long) }
            #expect(error?.message.contains("out of memory on the device") ?? false)
            state.release()
            #expect(try logits(golden.model, state, golden.ids).count == golden.logits.count)
            #expect(Device.memory.allocated > 0)
            #expect(!Device.isLost)
        }
    }

    @Test func `the device draws what the CPU draws`() throws {
        let width = 1280
        var seed: UInt64 = 9
        func noise() -> Float {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int(seed >> 40) - (1 << 23)) / Float(1 << 21)
        }
        var rows: [SamplerRow] = []
        for (temperature, topK, topP, minP) in [
            (0, 0, 1, 0), (1, 0, 1, 0), (0.7, 40, 1, 0), (1.3, 0, 0.9, 0), (1, 0, 1, 0.1),
            (2, 300, 0.8, 0.01),
        ] as [(Float, Int, Float, Float)] {
            for changes in 0..<4 {
                var row = SamplerRow()
                (row.temperature, row.topK, row.topP, row.minP) = (temperature, topK, topP, minP)
                row.seed = 77 + UInt64(rows.count)
                row.position = UInt32(rows.count)
                row.topLogprobs = changes * 5
                if changes > 0 {
                    row.history = TokenHistory(prompt: [1, 2, 3], generated: [2, 2, 9])
                    (row.presencePenalty, row.repetitionPenalty) = (0.5, 1.3)
                }
                if changes > 1 { row.logitBias = [4: 6, 5: -100, 99_999: 3] }
                if changes > 2 {
                    row.suppressed = [4, 7]
                    row.mask = (0..<width / 64).map { $0 % 3 == 0 ? 0 : ~0 }
                }
                rows.append(row)
            }
        }
        let values = (0..<rows.count * width).map { _ in noise() }
        func draw() throws -> [Sampled] {
            try Torch.checked {
                try Sampler().sample(
                    logits: Tensor(values, shape: [rows.count, width]),
                    rows: rows
                ).map { try $0.get() }
            }
        }
        let expected = try draw()
        let found = try EmulatedDevice.run { try draw() }
        #expect(found.map(\.token) == expected.map(\.token))
        for (a, b) in zip(found, expected) {
            #expect(abs((a.logprob ?? 9) - (b.logprob ?? 9)) < 1e-4)
            #expect(a.top.map(\.token) == b.top.map(\.token))
        }
    }

    private typealias Sequences = [(state: any SequenceState, tokens: [Int32])]

    /// One step, and how its tokens are drawn.
    private func step(_ sequences: Sequences, at position: Int) -> (Step, [SamplerRow]) {
        var ends: [Int] = []
        for sequence in sequences { ends.append((ends.last ?? -1) + sequence.tokens.count) }
        let step = Step(
            tokens: sequences.flatMap(\.tokens),
            runs: sequences.map { .init(state: $0.state, count: $0.tokens.count) },
            outputRows: ends
        )
        let rows = sequences.indices.map { index in
            var row = SamplerRow()
            row.temperature = index == 1 ? 0.8 : 0
            row.seed = UInt64(index)
            row.position = UInt32(position)
            row.topLogprobs = 3
            return row
        }
        return (step, rows)
    }

    /// The next token of each sequence after its new tokens.
    private func decode(
        _ model: any CausalLanguageModel,
        _ graphs: DecodeGraphs?,
        _ sequences: Sequences,
        at position: Int = 0
    ) throws -> [Sampled] {
        let (step, rows) = step(sequences, at: position)
        return try Torch.checked {
            let drawn =
                switch graphs?.start(step, rows: rows) {
                case .drawn(let drawn)?: drawn
                case .running?: graphs?.answers() ?? []
                case nil: Sampler().sample(logits: model(step), rows: rows)
                }
            return try drawn.map { try $0.get() }
        }
    }

    private func logits(
        _ model: any CausalLanguageModel,
        _ state: any SequenceState,
        _ ids: [Int32]
    ) throws -> [Float] {
        try Torch.checked {
            model(
                Step(
                    tokens: ids,
                    runs: [.init(state: state, count: ids.count)],
                    outputRows: Array(ids.indices)
                )
            ).floats
        }
    }

    private func largest(_ found: [Float], _ expected: [Float]) -> Float {
        found.count == expected.count
            ? zip(found, expected).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }
}
