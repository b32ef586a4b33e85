internal import EngineLink
internal import NN
internal import Scheduling
internal import Torch

/// Turns a plan into one forward pass and draws the new tokens.
struct StepRunner {
    private let model: any CausalLanguageModel
    private let capacity: Int
    private let sampler = Sampler()
    private let graphs: DecodeGraphs
    /// The cache; a slot's state is made when the slot is first used.
    private var states: [(any SequenceState)?]

    init(model: any CausalLanguageModel, slots: Int, capacity: Int) {
        self.model = model
        self.capacity = capacity
        graphs = DecodeGraphs(model)
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

    /// Starts a plan whose cuts are done: one result for each of its outputs, now or by `answers`.
    ///
    /// Nil where a plan that follows another could not be started; nothing has changed then. `media` tells of
    /// a request's images and clips, `row` how an item's token is drawn. Call inside `Torch.checked`.
    mutating func start(
        _ plan: Plan,
        media: (GenerationID) -> VisionWork.Entry?,
        row: (Plan.Item) -> SamplerRow
    ) -> DecodeGraphs.Started? {
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
                return nil
            }
            runs.append(Step.Run(state: state, count: item.tokens.count))
            tokens += item.tokens
            if item.wantsLogits { rows.append(tokens.count - 1) }
        }
        var step = Step(tokens: tokens, runs: runs, outputRows: rows)
        see(plan, media, &step)
        let samplers = plan.outputs.map(row)
        let follows = plan.items.map { Int32($0.follows ?? -1) }
        let isFollowing = follows.contains { $0 >= 0 }
        if Device.isUsed, rows.count == runs.count,
            let started = graphs.start(
                step,
                rows: samplers,
                follows: isFollowing ? follows : nil
            )
        {
            return started
        }
        guard !isFollowing else { return nil }
        let logits = model(step)
        return .drawn(rows.isEmpty ? [] : sampler.sample(logits: logits, rows: samplers))
    }

    /// Waits for the oldest plan that is running: one result for each of its outputs.
    ///
    /// Call inside `Torch.checked`.
    func answers() -> [Result<Sampled, SamplerError>] { graphs.answers() }

    /// Puts media into the step, and their positions; a step of text alone stays as it is.
    private func see(
        _ plan: Plan,
        _ media: (GenerationID) -> VisionWork.Entry?,
        _ step: inout Step
    ) {
        let entries = plan.items.map { media($0.sequence.request) }
        guard entries.contains(where: { $0 != nil }) else { return }
        var axes: [[Int32]] = [[], [], []]
        for (item, entry) in zip(plan.items, entries) {
            let range = item.start..<item.start + item.tokens.count
            guard let entry else {
                for axis in axes.indices { axes[axis] += range.map { Int32(clamping: $0) } }
                continue
            }
            step.replacements += entry.prompt.replacements(
                range,
                row: axes[0].count,
                features: entry.features
            )
            for (axis, positions) in entry.prompt.positions(range).enumerated() {
                axes[axis] += positions
            }
        }
        step.positions = axes
    }
}
