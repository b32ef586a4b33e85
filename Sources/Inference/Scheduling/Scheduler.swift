/// Decides which tokens of which sequences the next step computes: continuous batching with chunked
/// prefill, over plain values.
///
/// Invariants, each tested by seed:
/// 1. The tokens held by all slots never exceed `kvTokens`, the rows of a step never `stepTokens`.
/// 2. A slot belongs to one sequence at most; a freed one is released before it is used again.
/// 3. Decodes come before prefill. Prefill is first in, first out; nothing overtakes what waits for room.
/// 4. Only a younger sequence ever gives way to an older one, so the oldest always advances.
/// 5. A request whose rows are not ready is passed over and keeps its age.
/// 6. What a sequence is fed is its prompt and its tokens in order, however often it was pre-empted.
public struct Scheduler: Sendable {
    /// What may be spent.
    public let limits: SchedulerLimits
    /// By age, oldest first.
    var sequences: [Sequence] = []
    var freeSlots: [Int]
    var released: [Plan.Cut] = []
    /// Tokens that these have yet to free.
    var unfreed = 0
    /// Requests whose rows are not ready.
    var unready: Set<UInt64> = []
    /// Whether what waited at the last plan still waits: nothing has come, become ready or ended.
    var isSettled = false
    private var nextSerial: UInt64 = 0

    struct Sequence: Sendable {
        let serial: UInt64
        let id: SequenceID
        let promptCount: Int
        let ending: Ending
        /// Prompt and output.
        var tokens: [Int32]
        /// How many of them the slot holds.
        var held = 0
        /// How many it holds once the steps under way are done.
        var reached = 0
        /// Nil while it holds nothing.
        var slot: Int?
        /// Lost its content to an older sequence and has not been started again.
        var isPreempted = false

        var pending: Int { tokens.count - held }
        var generated: Int { tokens.count - promptCount }
        var isDecoding: Bool { held > 0 && pending == 1 }
    }

    /// A scheduler without sequences.
    public init(_ limits: SchedulerLimits) {
        self.limits = limits
        freeSlots = Array((0..<limits.slots).reversed())
    }

    /// Whether there is nothing to plan.
    public var isIdle: Bool { sequences.isEmpty && released.isEmpty }
    /// Sequences in the scheduler: those that run and those that wait.
    public var sequenceCount: Int { sequences.count }
    /// Slots that belong to a sequence.
    public var usedSlots: Int { limits.slots - freeSlots.count }
    /// Tokens that the slots hold.
    public var usedTokens: Int { sequences.reduce(0) { $0 + $1.held } }
    /// Sequences that lost their content and wait.
    public var preempted: Int { sequences.count { $0.isPreempted } }
    /// Whether all sequences wait for rows that are not ready, so that a plan has no items.
    public var isWaiting: Bool {
        !sequences.isEmpty
            && sequences.allSatisfy { unready.contains($0.id.request) }
    }
    /// Whether a choice of the request still runs.
    public func contains(_ request: UInt64) -> Bool {
        sequences.contains { $0.id.request == request }
    }

    /// Takes all choices of a request, or none.
    ///
    /// Where `isReady` is false nothing of it is planned until `makeReady`: its rows are still computed.
    /// - Throws: `AdmissionError` for what could never run.
    public mutating func admit(_ request: UInt64, _ submission: Submission, isReady: Bool = true)
        throws(AdmissionError)
    {
        guard !submission.prompt.isEmpty, !submission.choices.isEmpty,
            Set(submission.choices.map(\.index)).count == submission.choices.count,
            submission.choices.allSatisfy({ $0.generated.count < submission.ending.maxTokens })
        else { throw .malformed }
        guard !contains(request) else { throw .duplicate }
        let longest = submission.choices.map(\.generated.count).max() ?? 0
        let (tokens, overflow) = submission.prompt.count.addingReportingOverflow(longest)
        guard !overflow, tokens < limits.longest else {
            throw .tooLong(tokens: tokens, limit: limits.longest)
        }
        for choice in submission.choices {
            sequences.append(
                Sequence(
                    serial: nextSerial,
                    id: SequenceID(request: request, choice: choice.index),
                    promptCount: submission.prompt.count,
                    ending: submission.ending,
                    tokens: submission.prompt + choice.generated
                )
            )
            nextSerial &+= 1
        }
        if !isReady { unready.insert(request) }
        isSettled = false
    }

    /// The rows of a request's prompt can be computed now; unknown ones are ignored.
    public mutating func makeReady(_ request: UInt64) {
        if unready.remove(request) != nil { isSettled = false }
    }

    /// Drops a choice of a request, or all of them; unknown ones are ignored.
    public mutating func cancel(_ request: UInt64, choice: Int? = nil) {
        for index in sequences.indices.reversed()
        where sequences[index].id.request == request
            && (choice == nil || choice == sequences[index].id.choice)
        {
            end(at: index)
        }
    }

    /// Drops everything.
    public mutating func cancelAll() {
        while !sequences.isEmpty { end(at: sequences.count - 1) }
    }

    /// Takes a step's results: for each of `plan.outputs` the tokens it drew, normally one.
    ///
    /// Sequences that were cancelled since the plan are skipped. Tokens behind a sequence's last one
    /// are dropped.
    public mutating func commit(_ drawn: [[Int32]], of plan: Plan) -> [Outcome] {
        var outcomes: [Outcome] = []
        var results = drawn[...]
        for item in plan.items {
            let tokens = item.wantsLogits ? results.popFirst() ?? [] : []
            guard let index = sequences.firstIndex(where: { $0.serial == item.serial }) else {
                continue
            }
            sequences[index].held = item.start + item.tokens.count
            for (ordinal, token) in tokens.enumerated() {
                sequences[index].tokens.append(token)
                let finish = finish(of: sequences[index], after: token)
                outcomes.append(
                    Outcome(sequence: item.sequence, ordinal: ordinal, token: token, finish: finish)
                )
                if finish != nil {
                    end(at: index)
                    break
                }
            }
        }
        return outcomes
    }

    /// Drops every request that took part in a step that failed, and names them.
    public mutating func fail(_ plan: Plan) -> [UInt64] {
        var requests: [UInt64] = []
        for item in plan.items where !requests.contains(item.sequence.request) {
            guard sequences.contains(where: { $0.serial == item.serial }) else { continue }
            requests.append(item.sequence.request)
        }
        for request in requests { cancel(request) }
        return requests
    }

    private func finish(of sequence: Sequence, after token: Int32) -> Outcome.Finish? {
        if sequence.ending.stopTokens.contains(token),
            sequence.generated > sequence.ending.minTokens
        {
            return .stop
        }
        let isFull = sequence.tokens.count >= limits.longest
        return isFull || sequence.generated >= sequence.ending.maxTokens ? .length : nil
    }

    /// Removes a sequence.
    ///
    /// A sibling that waits for the shared prompt takes over the slot and what of the prompt it holds.
    private mutating func end(at index: Int) {
        let ended = sequences.remove(at: index)
        isSettled = false
        if !contains(ended.id.request) { unready.remove(ended.id.request) }
        guard let slot = ended.slot else { return }
        let shared = limits.sharesPrefixes ? min(ended.held, ended.promptCount) : 0
        unfreed += max(ended.held, ended.reached)
        let heir = sequences.firstIndex {
            $0.id.request == ended.id.request && $0.slot == nil && $0.tokens.count > 1
        }
        if shared > 0, let heir {
            sequences[heir].slot = slot
            sequences[heir].held = min(shared, sequences[heir].tokens.count - 1)
            released.append(Plan.Cut(slot: slot, kept: sequences[heir].held))
        } else {
            released.append(Plan.Cut(slot: slot, kept: 0))
            freeSlots.append(slot)
        }
    }
}
