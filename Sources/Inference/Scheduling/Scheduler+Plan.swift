extension Scheduler {
    /// The next step; empty where nothing can run.
    ///
    /// What it says of slots counts at once: perform it, then `commit` or `fail` it. `rows` bounds the
    /// step further where steps take too long; every slot's decode still fits.
    public mutating func plan(atMost rows: Int = .max) -> Plan {
        var plan = Plan()
        var planned: Set<UInt64> = []
        var budget = min(limits.stepTokens, max(rows, limits.slots + 1))
        var room = limits.kvTokens - usedTokens
        let decodes = sequences.filter(\.isDecoding).map(\.serial)
        for serial in decodes {
            // An older one may have pushed it out just now.
            guard let index = index(of: serial), sequences[index].isDecoding else { continue }
            add(serial, to: &plan, &planned, &budget, &room)
        }
        var isBlocked = false
        isSettled = true
        for serial in sequences.map(\.serial) where !planned.contains(serial) {
            guard budget > 0 else { break }
            guard let index = index(of: serial),
                !unready.contains(sequences[index].id.request)
            else { continue }
            if sequences[index].held == 0 {
                if isBlocked { continue }
                switch start(at: index, room: room, planned) {
                case .waitsForSibling:
                    isSettled = false
                    continue
                case .waitsForRoom:
                    isBlocked = true
                    continue
                case .alone: break
                case .copy(let copy):
                    plan.copies.append(copy)
                    room -= copy.count
                }
            }
            add(serial, to: &plan, &planned, &budget, &room)
        }
        plan.released = released
        released = []
        unfreed = 0
        return plan
    }

    /// The step behind `plan` while nobody knows its tokens: one more of each sequence that is not certain
    /// to end.
    ///
    /// Nil where something else may have to come first: what could start, or what has to give way. Commit
    /// `plan` before this one. A sequence that ends by then loses what it drew here.
    public mutating func following(_ plan: Plan) -> Plan? {
        let planned = Dictionary(
            uniqueKeysWithValues: plan.outputs.enumerated().map { ($1.serial, ($0, $1)) }
        )
        guard planned.count == plan.items.count else { return nil }
        var next = Plan()
        // Slots that the next plan empties are full until then.
        var used = unfreed
        for sequence in sequences {
            guard let (output, item) = planned[sequence.serial] else {
                used += max(sequence.held, sequence.reached)
                let waits = isSettled && sequence.slot == nil
                guard waits || unready.contains(sequence.id.request) else { return nil }
                continue
            }
            let held = item.start + item.tokens.count
            used += held
            let generated = sequence.generated + 1
            guard generated < sequence.ending.maxTokens, held + 1 < limits.longest else { continue }
            next.items.append(
                Plan.Item(
                    sequence: sequence.id,
                    slot: item.slot,
                    tokens: [0],
                    follows: output,
                    start: held,
                    wantsLogits: true,
                    outputIndex: generated,
                    suppressed: suppressed(sequence, after: generated),
                    serial: sequence.serial
                )
            )
        }
        guard !next.items.isEmpty, used + next.items.count <= limits.kvTokens else { return nil }
        for item in next.items {
            guard let index = index(of: item.serial) else { continue }
            sequences[index].reached = item.start + item.tokens.count
        }
        return next
    }

    /// What the token after `generated` ones must not be.
    private func suppressed(_ sequence: Sequence, after generated: Int) -> [Int32] {
        generated < sequence.ending.minTokens ? sequence.ending.stopTokens : []
    }

    private enum Start {
        /// An older choice of its request is about to compute the prompt.
        case waitsForSibling
        /// Slots or tokens are missing; nothing younger may start either.
        case waitsForRoom
        /// It computes its prompt.
        case alone
        /// A sibling's prompt serves.
        case copy(Plan.Copy)
    }

    private func index(of serial: UInt64) -> Int? { sequences.firstIndex { $0.serial == serial } }

    /// Gives a sequence that holds nothing its slot and, where a sibling has it, the prompt.
    private mutating func start(at index: Int, room: Int, _ planned: Set<UInt64>) -> Start {
        let sequence = sequences[index]
        let siblings = sequences.filter { $0.id.request == sequence.id.request }
        let shared =
            limits.sharesPrefixes ? min(sequence.promptCount, sequence.tokens.count - 1) : 0
        let donor = siblings.first { $0.held >= sequence.promptCount && shared > 0 }
        if donor == nil, siblings.contains(where: { $0.serial < sequence.serial }), shared > 0 {
            return .waitsForSibling
        }
        guard sequence.slot != nil || !freeSlots.isEmpty else { return .waitsForRoom }
        let running = sequences.filter { $0.held > 0 }
        if !running.isEmpty || !planned.isEmpty {
            // What is in the middle of its prefill will need the rest of it; and a few tokens for each
            // decode, so that what starts now is not pushed out again at once.
            let promised = running.reduce(0) { $0 + ($1.isDecoding ? 8 : $1.pending) }
            let started = planned.reduce(0) { sum, serial in
                guard let other = self.index(of: serial), sequences[other].held == 0 else {
                    return sum
                }
                return sum + sequences[other].tokens.count
            }
            guard usedTokens + promised + started + sequence.tokens.count <= limits.kvTokens else {
                return .waitsForRoom
            }
        }
        if sequences[index].slot == nil { sequences[index].slot = freeSlots.popLast() }
        sequences[index].isPreempted = false
        guard let donor, let from = donor.slot, let to = sequences[index].slot else {
            return .alone
        }
        sequences[index].held = shared
        return .copy(Plan.Copy(from: from, to: to, count: shared))
    }

    /// Adds as many of a sequence's pending tokens as steps and slots have room for.
    private mutating func add(
        _ serial: UInt64,
        to plan: inout Plan,
        _ planned: inout Set<UInt64>,
        _ budget: inout Int,
        _ room: inout Int
    ) {
        guard let wanted = index(of: serial).map({ min(sequences[$0].pending, budget) }), wanted > 0
        else { return }
        while room < wanted, let freed = preempt(youngerThan: serial, planned) { room += freed }
        guard let index = index(of: serial), let slot = sequences[index].slot else { return }
        let sequence = sequences[index]
        let count = min(wanted, room)
        guard count > 0 else { return }
        let isLast = count == sequence.pending
        plan.items.append(
            Plan.Item(
                sequence: sequence.id,
                slot: slot,
                tokens: Array(sequence.tokens[sequence.held..<sequence.held + count]),
                follows: nil,
                start: sequence.held,
                wantsLogits: isLast,
                outputIndex: sequence.generated,
                suppressed: isLast ? suppressed(sequence, after: sequence.generated) : [],
                serial: serial
            )
        )
        sequences[index].reached = sequence.held + count
        planned.insert(serial)
        budget -= count
        room -= count
    }

    /// Empties the youngest sequence that is younger than this one and not in the step; answers the
    /// tokens that it held.
    private mutating func preempt(youngerThan serial: UInt64, _ planned: Set<UInt64>) -> Int? {
        let victim = sequences.lastIndex {
            $0.serial > serial && $0.held > 0 && !planned.contains($0.serial)
        }
        guard let victim, let slot = sequences[victim].slot else { return nil }
        let freed = sequences[victim].held
        sequences[victim].held = 0
        sequences[victim].reached = 0
        sequences[victim].slot = nil
        freeSlots.append(slot)
        sequences[victim].isPreempted = true
        released.append(Plan.Cut(slot: slot, kept: 0))
        return freed
    }
}
