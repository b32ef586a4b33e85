internal import EngineLink
internal import NN
internal import Scheduling
internal import Torch

/// Turns a plan into one forward pass and draws the new tokens.
struct StepRunner {
    private let model: any CausalLanguageModel
    private let capacity: Int
    private let sampler = Sampler()
    /// The cache; a slot's state is made when the slot is first used.
    private var states: [(any SequenceState)?]

    init(model: any CausalLanguageModel, slots: Int, capacity: Int) {
        self.model = model
        self.capacity = capacity
        states = Array(repeating: nil, count: slots)
    }

    private mutating func state(_ slot: Int) -> any SequenceState {
        if let state = states[slot] { return state }
        let state = model.makeState(capacity: capacity)
        states[slot] = state
        return state
    }

    /// Gives the memory of what is no longer needed back.
    func release(_ cuts: [Plan.Cut]) {
        for cut in cuts {
            if cut.kept == 0 {
                states[cut.slot]?.release()
            } else {
                states[cut.slot]?.truncate(to: cut.kept)
            }
        }
    }

    /// Drops the states that hold nothing.
    mutating func trim() {
        for slot in states.indices where states[slot]?.length == 0 { states[slot] = nil }
    }

    /// Performs a plan whose cuts are done: one result for each of its outputs.
    ///
    /// `row` tells how an item's token is drawn. Call inside `Torch.checked`.
    mutating func run(_ plan: Plan, row: (Plan.Item) -> SamplerRow)
        -> [Result<Sampled, SamplerError>]
    {
        for copy in plan.copies {
            let source = state(copy.from)
            state(copy.to).copy(from: source, count: copy.count)
        }
        var tokens: [Int32] = []
        var runs: [Step.Run] = []
        var rows: [Int] = []
        for item in plan.items {
            let state = state(item.slot)
            // A step that failed half-way may have left rows behind; fewer would be a wrong cache.
            state.truncate(to: item.start)
            guard state.length == item.start else {
                Torch.fail("a slot holds \(state.length) tokens instead of \(item.start)")
                return []
            }
            runs.append(Step.Run(state: state, count: item.tokens.count))
            tokens += item.tokens
            if item.wantsLogits { rows.append(tokens.count - 1) }
        }
        let logits = model(Step(tokens: tokens, runs: runs, outputRows: rows))
        return rows.isEmpty ? [] : sampler.sample(logits: logits, rows: plan.outputs.map(row))
    }
}
