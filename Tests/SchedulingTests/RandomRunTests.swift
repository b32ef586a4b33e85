import Scheduling
import Testing

/// SplitMix64, so that a seed names a run.
private struct Dice {
    var state: UInt64
    mutating func next(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((z ^ (z >> 31)) % UInt64(max(1, bound)))
    }
}

/// A model that is a hash of everything before.
private func nextToken(_ prefix: [Int32], choice: Int) -> Int32 {
    var hash: UInt64 = 1_469_598_103_934_665_603 &+ UInt64(choice)
    for token in prefix { hash = (hash ^ UInt64(UInt32(bitPattern: token))) &* 1_099_511_628_211 }
    return Int32((hash >> 20) % 50)
}

/// Slots as arrays of tokens: performs plans as the engine does, and objects to every mistake.
private struct Bench {
    var scheduler: Scheduler
    var slots: [[Int32]]
    var owners: [Int: SequenceID] = [:]
    var submissions: [UInt64: Submission] = [:]
    var outputs: [SequenceID: [Int32]] = [:]
    var finishes: [SequenceID: Int] = [:]
    var preemptions = 0
    var faults: [String] = []

    init(_ limits: SchedulerLimits) {
        scheduler = Scheduler(limits)
        slots = Array(repeating: [], count: limits.slots)
    }

    mutating func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition { faults.append(text()) }
    }

    /// `behind`: what the step before has drawn, if nobody knows it yet.
    mutating func perform(_ plan: Plan, behind: (plan: Plan, drawn: [[Int32]])? = nil) -> [[Int32]]
    {
        let unknown = Dictionary(
            uniqueKeysWithValues: zip(
                behind?.plan.outputs.map(\.sequence) ?? [],
                behind?.drawn ?? []
            )
        )
        let limits = scheduler.limits
        let cut = Set(plan.released.filter { $0.kept == 0 }.map(\.slot))
        for item in plan.items {
            let isBack = cut.contains(item.slot) && owners[item.slot] == item.sequence
            expect(!isBack, "pushed out and taken in again in one step")
            owners[item.slot] = item.sequence
        }
        for cut in plan.released { slots[cut.slot] = Array(slots[cut.slot].prefix(cut.kept)) }
        for copy in plan.copies {
            expect(slots[copy.to].isEmpty, "a copy into a full slot")
            expect(slots[copy.from].count >= copy.count, "a copy of what is not there")
            slots[copy.to] = Array(slots[copy.from].prefix(copy.count))
        }
        expect(plan.rowCount <= limits.stepTokens, "too many rows")
        expect(Set(plan.items.map(\.slot)).count == plan.items.count, "a slot used twice")
        expect(
            Set(plan.items.map(\.sequence)).count == plan.items.count,
            "a sequence planned twice"
        )
        var drawn: [[Int32]] = []
        for item in plan.items {
            let held = slots[item.slot].count
            expect(held == item.start, "holds \(held), not \(item.start)")
            let followed = item.follows.flatMap { behind?.drawn[$0] }
            expect((item.follows != nil) == (followed != nil), "follows nothing")
            expect(followed == unknown[item.sequence], "follows another")
            slots[item.slot] += followed ?? item.tokens
            let given = submissions[item.sequence.request]
            let before = given?.choices.first { $0.index == item.sequence.choice }?.generated ?? []
            let all =
                (given?.prompt ?? []) + before + (outputs[item.sequence] ?? []) + (followed ?? [])
            expect(
                slots[item.slot] == Array(all.prefix(slots[item.slot].count)),
                "another's tokens"
            )
            guard item.wantsLogits else { continue }
            expect(slots[item.slot].count == all.count, "drawn before the end")
            expect(item.outputIndex == all.count - (given?.prompt.count ?? 0), "a wrong index")
            drawn.append([nextToken(slots[item.slot], choice: item.sequence.choice)])
        }
        expect(slots.reduce(0) { $0 + $1.count } <= limits.kvTokens, "slots hold too much")
        return drawn
    }

    mutating func note(_ outcomes: [Outcome]) {
        for outcome in outcomes {
            expect(finishes[outcome.sequence] == nil, "a token after the end")
            outputs[outcome.sequence, default: []].append(outcome.token)
            if outcome.finish != nil { finishes[outcome.sequence, default: 0] += 1 }
        }
    }
}

/// What a sequence generates alone.
private func alone(_ submission: Submission, _ choice: Submission.Choice, limit: Int) -> [Int32] {
    var tokens = submission.prompt + choice.generated
    var output: [Int32] = []
    let ending = submission.ending
    while true {
        let token = nextToken(tokens, choice: choice.index)
        tokens.append(token)
        output.append(token)
        let count = tokens.count - submission.prompt.count
        if ending.stopTokens.contains(token), count > ending.minTokens { return output }
        if count >= ending.maxTokens || tokens.count >= limit { return output }
    }
}

@Suite struct RandomRunTests {
    /// One run; answers its faults, how often a sequence was pushed out, and how many steps were started
    /// behind one whose tokens nobody knew.
    private func run(seed: UInt64) -> (faults: [String], preemptions: Int, followed: Int) {
        var dice = Dice(state: seed)
        let limits = SchedulerLimits(
            slots: 1 + dice.next(6),
            contextLength: 8 + dice.next(60),
            kvTokens: 8 + dice.next(150),
            stepTokens: 1 + dice.next(40)
        )
        var bench = Bench(limits)
        var followed = 0
        var cancelled: Set<SequenceID> = []
        /// Admitted before their rows are ready, and when these are.
        var unready: [UInt64: Int] = [:]
        var left = 1 + dice.next(14)
        var id: UInt64 = 0
        var steps = 0
        var running: (plan: Plan, drawn: [[Int32]])?
        func end(_ step: (plan: Plan, drawn: [[Int32]])) {
            guard dice.next(60) == 0 else {
                return bench.note(bench.scheduler.commit(step.drawn, of: step.plan))
            }
            for request in bench.scheduler.fail(step.plan) {
                for index in [0, 2, 4] {
                    cancelled.insert(SequenceID(request: request, choice: index))
                }
            }
        }
        while left > 0 || !bench.scheduler.isIdle || running != nil {
            steps += 1
            if steps > 6000 { return (["never ends"], 0, 0) }
            while left > 0, bench.scheduler.isIdle || dice.next(3) == 0 {
                left -= 1
                id += 1
                let ending = Ending(
                    maxTokens: 1 + dice.next(30),
                    minTokens: dice.next(3),
                    stopTokens: [1, 2, 3]
                )
                let prompt = (0..<1 + dice.next(limits.longest + 2)).map { Int32($0 ^ Int(id) & 7) }
                let choices = (0..<1 + dice.next(3)).map { index in
                    Submission.Choice(
                        index: index * 2,
                        generated: (0..<dice.next(4) / 2 * dice.next(5)).map { Int32(60 + $0) }
                    )
                }
                let submission = Submission(prompt: prompt, choices: choices, ending: ending)
                do {
                    let isReady = dice.next(4) > 0
                    try bench.scheduler.admit(id, submission, isReady: isReady)
                    if !isReady { unready[id] = steps + dice.next(20) }
                    bench.submissions[id] = submission
                } catch AdmissionError.tooLong(let tokens, let limit) {
                    bench.expect(tokens >= limit, "refused what fits")
                } catch {
                    let isDone = choices.contains { $0.generated.count >= ending.maxTokens }
                    bench.expect(isDone, "refused: \(error)")
                }
            }
            if dice.next(25) == 0, id > 0 {
                let request = 1 + UInt64(dice.next(Int(id)))
                let choice = dice.next(2) == 0 ? nil : dice.next(3) * 2
                bench.scheduler.cancel(request, choice: choice)
                for index in [0, 2, 4] where choice == nil || choice == index {
                    cancelled.insert(SequenceID(request: request, choice: index))
                }
            }
            for (request, when) in unready where when <= steps {
                bench.scheduler.makeReady(request)
                unready[request] = nil
            }
            if let step = running {
                // The step behind, while nobody knows what this one has drawn.
                running =
                    dice.next(5) == 0
                    ? nil
                    : bench.scheduler.following(step.plan).map {
                        followed += 1
                        return ($0, bench.perform($0, behind: step))
                    }
                end(step)
                continue
            }
            let isWaiting = bench.scheduler.isWaiting
            let before = bench.scheduler.preempted
            let plan = bench.scheduler.plan()
            bench.preemptions += max(0, bench.scheduler.preempted - before)
            let isStuck = plan.items.isEmpty && bench.scheduler.sequenceCount > 0 && !isWaiting
            bench.expect(!isWaiting || plan.items.isEmpty, "waits for nothing")
            let early = plan.items.contains { unready[$0.sequence.request] != nil }
            bench.expect(!early, "planned before its rows were ready")
            bench.expect(!isStuck, "stuck at step \(steps)")
            let used = bench.scheduler.usedSlots
            bench.expect(used <= limits.slots, "too many slots")
            let step = (plan: plan, drawn: bench.perform(plan))
            if dice.next(2) == 0 { running = step } else { end(step) }
            let held = bench.scheduler.usedTokens
            bench.expect(held <= limits.kvTokens, "counts too much")
        }
        let leaked = (bench.scheduler.usedSlots, bench.scheduler.usedTokens)
        bench.expect(leaked == (0, 0), "slots and tokens leaked: \(leaked)")
        for (request, submission) in bench.submissions {
            for choice in submission.choices {
                let key = SequenceID(request: request, choice: choice.index)
                let wanted = alone(submission, choice, limit: limits.longest)
                let found = bench.outputs[key] ?? []
                if cancelled.contains(key) {
                    bench.expect(
                        found == Array(wanted.prefix(found.count)),
                        "other tokens, cancelled"
                    )
                } else {
                    bench.expect(found == wanted, "other tokens than alone")
                    let ends = bench.finishes[key] ?? 0
                    bench.expect(ends == 1, "ended \(ends) times")
                }
            }
        }
        return (bench.faults, bench.preemptions, followed)
    }

    @Test func `random runs give every sequence what it gives alone`() {
        var (preemptions, followed) = (0, 0)
        for seed in 0..<4000 as Range<UInt64> {
            let result = run(seed: seed)
            preemptions += result.preemptions
            followed += result.followed
            guard result.faults.isEmpty else {
                Issue.record("seed \(seed): \(Set(result.faults).sorted())")
                return
            }
        }
        #expect(preemptions > 1000)
        #expect(followed > 10_000)
    }

    @Test func `while there is room a decode is in every step, whatever is prefilled`() throws {
        var scheduler = Scheduler(
            SchedulerLimits(slots: 8, contextLength: 500, kvTokens: 4000, stepTokens: 16)
        )
        try scheduler.admit(1, Submission(prompt: [1, 2], ending: Ending(maxTokens: 100)))
        _ = scheduler.commit([[4]], of: scheduler.plan())
        for id in 2...6 as ClosedRange<UInt64> {
            try scheduler.admit(
                id,
                Submission(prompt: .init(repeating: 1, count: 400), ending: Ending(maxTokens: 9))
            )
        }
        for _ in 0..<50 {
            let plan = scheduler.plan()
            #expect(plan.items.first?.sequence.request == 1)
            #expect(plan.rowCount == 16)
            _ = scheduler.commit(plan.outputs.map { _ in [4] }, of: plan)
        }
    }
}
