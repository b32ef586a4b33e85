import CTorch
public import Torch

/// Decode steps on the device as recorded graphs, by the number of rows and the keys that they may see.
///
/// The first step of a kind runs plainly, so that all it needs is loaded, the second is recorded, later ones
/// are replayed: one copy to the device, one launch, one copy back. Rows that fill a graph up write nowhere.
/// A replay does not wait: the step behind it may be started while its tokens are on their way. Used on the
/// engine thread.
public final class DecodeGraphs {
    private struct Kind: Hashable {
        let rows, longest: Int
    }

    private let model: any CausalLanguageModel
    private let owner = tg_graphs_owner()
    private var padding: [KVState] = []
    private var met: Set<Kind> = []
    /// Kinds that could not be recorded, which run as other steps do.
    private var refused: Set<Kind> = []
    /// Why the latest kind could not be recorded.
    public private(set) var refusal: String?
    /// Steps that were done by a graph.
    public private(set) var replays = 0
    /// The rows of the steps under way, oldest first.
    private var running: [[SamplerRow]] = []

    /// Graphs of steps of `model`.
    public init(_ model: any CausalLanguageModel) { self.model = model }

    deinit { tg_graphs_free(owner) }

    /// 1, 2, 4, 8, 16, 24 and so on.
    static func size(for rows: Int) -> Int {
        for size in [1, 2, 4] where rows <= size { return size }
        return (rows + 7) / 8 * 8
    }

    /// A power of two, so that a sequence changes its graph seldom.
    static func bound(for keys: Int) -> Int {
        var bound = 256
        while bound < keys { bound *= 2 }
        return bound
    }

    /// What a step that was started has given.
    public enum Started {
        /// Its tokens.
        case drawn([Result<Sampled, SamplerError>])
        /// Nothing yet: `answers` has its tokens.
        case running
    }

    /// Starts a step of one row a sequence; nil: it has to run as any other.
    ///
    /// `follows`: for each row, the row of the step started before whose token is its id, or -1; such a step
    /// runs as a graph or is not started. Two steps at most may be under way. The states are advanced.
    /// Failures are sticky: call inside `Torch.checked`.
    public func start(_ step: Step, rows: [SamplerRow], follows: [Int32]? = nil) -> Started? {
        guard Device.isUsed, case .tokens(let ids) = step.input, step.replacements.isEmpty,
            let positions = step.positions.first,
            step.positions.allSatisfy({ $0 == positions }),
            step.isSound, step.outputRows == Array(ids.indices), rows.count == ids.count
        else { return nil }
        let states = step.runs.compactMap { $0.state as? KVState }
        guard states.count == ids.count, let shape = states.first?.shape else { return nil }
        let size = Self.size(for: ids.count)
        let longest = Self.bound(for: 1 + (states.map(\.length).max() ?? 0))
        let kind = Kind(rows: size, longest: longest)
        guard !refused.contains(kind) else { return nil }
        while padding.count < size { padding.append(KVState(padding: shape)) }
        let missing = size - ids.count
        let filled = states + padding.prefix(missing)
        let padded = Step(
            input: .tokens(ids + Array(repeating: 0, count: missing)),
            positions: [positions + Array(repeating: 0, count: missing)],
            runs: filled.map { Step.Run(state: $0, count: 1) },
            outputRows: Array(0..<size)
        )
        let drawn = rows + Array(repeating: SamplerRow(), count: missing)
        guard met.contains(kind) else {
            guard follows == nil else { return nil }
            met.insert(kind)
            defer { for state in padding { state.truncate(to: 0) } }
            let answers = Sampler().sample(logits: model(padded), rows: drawn)
            return .drawn(Array(answers.prefix(ids.count)))
        }
        let before = follows.map { $0 + Array(repeating: -1, count: missing) }
        return Sampler.packing(drawn) { packed in
            guard stage(padded, filled, packed, before, longest) else { return nil }
            if !tg_has_graph() {
                guard follows == nil, record(padded, states, kind) else { return nil }
            } else {
                for state in states { state.advance(by: 1) }
            }
            guard tg_graph_start() else { return nil }
            replays &+= 1
            running.append(rows)
            return .running
        }
    }

    /// Waits for the oldest step that is running: its tokens.
    ///
    /// Failures are sticky: call inside `Torch.checked`.
    public func answers() -> [Result<Sampled, SamplerError>] {
        guard !running.isEmpty else { return [] }
        let rows = running.removeFirst()
        let answers = [tg_sampled](unsafeUninitializedCapacity: rows.count) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            count = tg_graph_answers(base, Int64(rows.count)) ? rows.count : 0
        }
        return Sampler.results(answers, of: rows)
    }

    private func stage(
        _ step: Step,
        _ states: [KVState],
        _ samplers: [tg_sampler_row],
        _ follows: [Int32]?,
        _ longest: Int
    ) -> Bool {
        guard case .tokens(let ids) = step.input else { return false }
        return tg_stage(
            ids,
            step.positions[0],
            follows,
            states.map { $0.run(layer: 0, count: 1) },
            samplers,
            Int64(ids.count),
            Int64(longest),
            owner
        )
    }

    /// Records the step and advances its states; false, and they are as before, where that does not work.
    private func record(_ step: Step, _ states: [KVState], _ kind: Kind) -> Bool {
        let lengths = states.map(\.length)
        var recorded = false
        do {
            try Torch.checked {
                guard tg_graph_begin() else { return }
                let logits = model(step)
                recorded = withExtendedLifetime(logits) { tg_graph_end(logits.handle) }
            }
        } catch { refusal = "\(error)" }
        for state in padding { state.truncate(to: 0) }
        if !recorded {
            refused.insert(kind)
            for (state, length) in zip(states, lengths) { state.truncate(to: length) }
        }
        return recorded
    }
}
