internal import EngineLink
internal import NN
internal import Scheduling
internal import Torch

/// Turns a plan into one forward pass and draws the new tokens.
///
/// Call inside `Torch.checked`.
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

    /// Forgets what the slots hold and gives their memory back.
    func release(_ slots: [Int]) { for slot in slots { states[slot]?.release() } }

    /// Drops the states that hold nothing.
    mutating func trim() {
        for slot in states.indices where states[slot]?.length == 0 { states[slot] = nil }
    }

    mutating func run(_ plan: Plan, _ jobs: [GenerationID: SamplingJob], _ scheduler: Scheduler)
        -> [SequenceKey: Result<Sampled, SamplerError>]
    {
        release(plan.released)
        for copy in plan.copies {
            let source = state(copy.from)
            state(copy.to).copy(from: source, count: copy.count)
        }
        var tokens: [Int32] = []
        var runs: [Step.Run] = []
        var rows: [Int] = []
        var wanted: [SequenceKey] = []
        for work in plan.work {
            let state = state(work.slot)
            // A step that failed half-way may have left rows behind.
            state.truncate(to: work.start)
            runs.append(Step.Run(state: state, count: work.tokens.count))
            tokens += work.tokens
            if work.samples {
                rows.append(tokens.count - 1)
                wanted.append(work.key)
            }
        }
        let logits = model(Step(tokens: tokens, runs: runs, outputRows: rows))
        guard !wanted.isEmpty else { return [:] }
        let samples = wanted.map { key in
            jobs[key.request]?.row(choice: key.choice, position: scheduler.generatedCount(of: key))
                ?? SamplerRow()
        }
        let results = sampler.sample(logits: logits, rows: samples)
        return Dictionary(uniqueKeysWithValues: zip(wanted, results))
    }
}
