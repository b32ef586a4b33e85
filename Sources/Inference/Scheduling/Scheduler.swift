/// Which tokens the next step computes, and in which slots: continuous batching with chunked prefill.
///
/// A value without tensors, clock or randomness; the engine performs its plans.
/// 1. A slot belongs to one sequence at most; `freeSlots` and the holders together are all slots.
/// 2. `held`, the tokens in slots, never exceeds `limits.kvTokens` after a plan is committed.
/// 3. Decodes come before prefill, older requests before younger ones; the oldest is never pre-empted.
/// 4. A pre-empted sequence keeps its tokens and computes them again later.
public struct Scheduler: Sendable {
    /// What there is.
    public struct Limits: Sendable, Equatable {
        /// Sequences in the cache at once.
        public var slots: Int
        /// Tokens in the cache at once.
        public var kvTokens: Int
        /// Tokens of one step.
        public var stepTokens: Int
        /// Tokens of one sequence.
        public var maxLength: Int

        /// Describes what there is.
        public init(slots: Int, kvTokens: Int, stepTokens: Int, maxLength: Int) {
            self.slots = slots
            self.kvTokens = kvTokens
            self.stepTokens = stepTokens
            self.maxLength = maxLength
        }

        /// Tokens that one sequence can reach.
        public var reach: Int { min(maxLength, kvTokens) }
    }

    /// What there is.
    public let limits: Limits
    private var sequences: [SequenceKey: Sequence] = [:]
    private var freeSlots: [Int]
    private var arrivals: UInt64 = 0
    /// Sequences that lost their slot so far.
    public private(set) var preemptions = 0

    /// An idle scheduler.
    public init(limits: Limits) {
        self.limits = limits
        freeSlots = Array((0..<limits.slots).reversed())
    }

    /// Whether there is nothing to compute.
    public var isIdle: Bool { sequences.isEmpty }
    /// Sequences, with a slot or not.
    public var count: Int { sequences.count }
    /// Slots that new sequences could get.
    public var unusedSlots: Int { max(0, limits.slots - sequences.count) }
    /// Tokens in the cache.
    public var held: Int { sequences.values.reduce(0) { $0 + ($1.slot == nil ? 0 : $1.computed) } }
    /// The requests that are here.
    public var requests: Set<UInt64> { Set(sequences.keys.map(\.request)) }

    /// Takes a request in.
    ///
    /// Nil, or why it can never be computed.
    public mutating func admit(_ request: SchedulerRequest) -> Refusal? {
        guard !request.prompt.isEmpty else { return .empty }
        for choice in request.choices {
            let length = request.prompt.count + choice.generated.count
            guard length < limits.reach || (length == limits.reach && !choice.generated.isEmpty)
            else {
                return .tooLong(length: length, limit: limits.reach)
            }
            guard sequences[SequenceKey(request: request.id, choice: choice.index)] == nil else {
                return .duplicate
            }
        }
        arrivals += 1
        let leader = request.choices.first.map {
            SequenceKey(request: request.id, choice: $0.index)
        }
        for choice in request.choices {
            let key = SequenceKey(request: request.id, choice: choice.index)
            sequences[key] = Sequence(
                request: request,
                generated: choice.generated,
                order: arrivals,
                leader: key == leader ? nil : leader
            )
        }
        return nil
    }

    /// Forgets a choice, or all of a request.
    ///
    /// Returns the slots that became free.
    public mutating func cancel(_ request: UInt64, choice: Int? = nil) -> [Int] {
        sequences.keys.filter { $0.request == request && (choice == nil || $0.choice == choice) }
            .compactMap { remove($0) }
    }

    /// Forgets everything.
    ///
    /// Returns the slots that became free.
    public mutating func removeAll() -> [Int] { sequences.keys.compactMap { remove($0) } }

    private mutating func remove(_ key: SequenceKey) -> Int? {
        guard let sequence = sequences.removeValue(forKey: key), let slot = sequence.slot else {
            return nil
        }
        freeSlots.append(slot)
        return slot
    }

    /// Tokens of a sequence that were generated so far.
    public func generatedCount(of key: SequenceKey) -> Int { sequences[key]?.generatedCount ?? 0 }

    // MARK: Planning

    /// Chooses the next step's work; empty only when idle.
    public mutating func plan() -> Plan {
        var plan = Plan()
        var used = held
        var budget = limits.stepTokens
        let ordered = sequences.keys.sorted { rank($0) < rank($1) }
        for key in ordered where budget > 0 && isDecoding(key) {
            while used + 1 > limits.kvTokens, let victim = youngestHolder(after: key) {
                used -= preempt(victim, &plan)
            }
            guard used + 1 <= limits.kvTokens, isDecoding(key) else { continue }
            used += 1
            budget -= 1
            add(key, count: 1, to: &plan)
        }
        for key in ordered where budget > 0 {
            guard let sequence = sequences[key], !plan.contains(key), !sequence.isDecoding else {
                continue
            }
            if sequence.slot == nil {
                // A newcomer enters only where all of its tokens fit, so that it is not thrown out again.
                guard !freeSlots.isEmpty, used + sequence.tokens.count <= limits.kvTokens else {
                    break
                }
                guard seat(key, &used, &plan) else { continue }
            }
            guard let seated = sequences[key] else { continue }
            let room = min(budget, limits.kvTokens - used)
            let count = min(seated.tokens.count - seated.computed, room)
            guard count > 0 else { continue }
            used += count
            budget -= count
            add(key, count: count, to: &plan)
        }
        return plan
    }

    /// Older requests first, then lower choices.
    private func rank(_ key: SequenceKey) -> (UInt64, Int) {
        (sequences[key]?.order ?? .max, key.choice)
    }

    private func isDecoding(_ key: SequenceKey) -> Bool {
        guard let sequence = sequences[key] else { return false }
        return sequence.slot != nil && sequence.isDecoding
    }

    /// The youngest sequence with a slot that is younger than `key`.
    private func youngestHolder(after key: SequenceKey) -> SequenceKey? {
        sequences.keys.filter { sequences[$0]?.slot != nil && rank($0) > rank(key) }.max {
            rank($0) < rank($1)
        }
    }

    /// Takes a sequence's slot away; returns the tokens that it held.
    private mutating func preempt(_ key: SequenceKey, _ plan: inout Plan) -> Int {
        guard var sequence = sequences[key], let slot = sequence.slot else { return 0 }
        let tokens = sequence.computed
        // What was planned for it in this step goes too.
        let planned = plan.drop(key)
        sequence.slot = nil
        sequence.computed = 0
        sequences[key] = sequence
        freeSlots.append(slot)
        plan.released.append(slot)
        preemptions += 1
        return tokens + planned
    }

    /// Gives a sequence a slot.
    ///
    /// False where it has to wait for the choice whose prompt it shares.
    private mutating func seat(_ key: SequenceKey, _ used: inout Int, _ plan: inout Plan) -> Bool {
        guard var sequence = sequences[key] else { return false }
        var copied = 0
        var source: Int?
        if let leader = sequence.leader.flatMap({ sequences[$0] }) {
            let shared = sequence.promptCount - 1
            if leader.computed < shared { return false }
            copied = shared
            source = leader.slot
        }
        guard let slot = freeSlots.popLast() else { return false }
        sequence.slot = slot
        if let source, copied > 0 {
            sequence.computed = copied
            used += copied
            plan.copies.append(Plan.Copy(from: source, to: slot, count: copied))
        }
        sequences[key] = sequence
        return true
    }

    private mutating func add(_ key: SequenceKey, count: Int, to plan: inout Plan) {
        guard let sequence = sequences[key], let slot = sequence.slot else { return }
        let start = sequence.computed
        let end = start + count
        plan.work.append(
            Plan.Work(
                key: key,
                slot: slot,
                start: start,
                tokens: Array(sequence.tokens[start..<end]),
                samples: end == sequence.tokens.count
            )
        )
    }

    // MARK: Committing

    /// Takes over what the step computed.
    ///
    /// `sampled`: the new tokens of each sequence that sampled, none or several. Returns what
    /// became of each token, and the slots that became free.
    public mutating func commit(_ sampled: [SequenceKey: [Int32]], of plan: Plan) -> Commit {
        var result = Commit()
        for work in plan.work {
            guard var sequence = sequences[work.key], sequence.slot == work.slot else { continue }
            sequence.computed = work.start + work.tokens.count
            sequences[work.key] = sequence
            guard work.samples else { continue }
            for token in sampled[work.key] ?? [] {
                guard var current = sequences[work.key] else { break }
                current.tokens.append(token)
                let end = current.end(after: token, reach: limits.reach)
                sequences[work.key] = current
                result.outcomes.append(Commit.Outcome(key: work.key, token: token, end: end))
                if end != nil, let slot = remove(work.key) { result.released.append(slot) }
            }
        }
        return result
    }
}
