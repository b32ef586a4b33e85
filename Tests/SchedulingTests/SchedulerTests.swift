import Scheduling
import Testing

@Suite struct SchedulerTests {
    private func submission(_ count: Int, max: Int = 4, stop: [Int32] = [], min: Int = 0)
        -> Submission
    {
        Submission(
            prompt: (0..<Int32(count)).map { $0 + 10 },
            ending: Ending(maxTokens: max, minTokens: min, stopTokens: stop)
        )
    }
    private func scheduler(
        slots: Int = 4,
        context: Int = 64,
        kv: Int = 256,
        step: Int = 16
    ) -> Scheduler {
        Scheduler(
            SchedulerLimits(slots: slots, contextLength: context, kvTokens: kv, stepTokens: step)
        )
    }

    @Test func `a long prompt is prefilled in chunks and draws behind its last token`() throws {
        var scheduler = scheduler()
        try scheduler.admit(1, submission(40))
        var starts: [Int] = []
        while true {
            let plan = scheduler.plan()
            let item = try #require(plan.items.first)
            starts.append(item.start)
            #expect(item.tokens.first == Int32(item.start) + 10)
            #expect(item.wantsLogits == (item.start + item.tokens.count == 40))
            let outcomes = scheduler.commit(plan.outputs.map { _ in [7] }, of: plan)
            if item.wantsLogits {
                #expect(outcomes.map(\.token) == [7])
                break
            }
            #expect(outcomes.isEmpty)
        }
        #expect(starts == [0, 16, 32])
        #expect(scheduler.plan().items.map(\.tokens) == [[7]])
    }

    @Test func `decodes come before a prefill, which gets the rest of the step`() throws {
        var scheduler = scheduler()
        try scheduler.admit(1, submission(3))
        let first = scheduler.plan()
        _ = scheduler.commit([[5]], of: first)
        try scheduler.admit(2, submission(40))
        let plan = scheduler.plan()
        #expect(plan.items.map(\.sequence.request) == [1, 2])
        #expect(plan.items.map(\.tokens.count) == [1, 15])
    }

    @Test func `what waits for its rows is overtaken and keeps its age`() throws {
        var scheduler = scheduler(slots: 2)
        try scheduler.admit(1, submission(12), isReady: false)
        #expect(scheduler.isWaiting && !scheduler.isIdle)
        #expect(scheduler.plan().items.isEmpty)
        try scheduler.admit(2, submission(20, max: 40))
        #expect(!scheduler.isWaiting)
        let first = scheduler.plan()
        #expect(first.items.map(\.sequence.request) == [2])
        _ = scheduler.commit([], of: first)
        scheduler.makeReady(1)
        let second = scheduler.plan()
        #expect(second.items.map(\.sequence.request) == [1, 2])
        _ = scheduler.commit(second.outputs.map { _ in [5] }, of: second)
        scheduler.cancel(1)
        try scheduler.admit(1, submission(3))
        #expect(scheduler.plan().items.map(\.sequence.request) == [2, 1])
    }

    @Test func `a step can be made smaller, but for the decodes`() throws {
        var scheduler = scheduler(slots: 3, step: 32)
        try scheduler.admit(1, submission(40))
        #expect(scheduler.plan(atMost: 10).rowCount == 10)
        #expect(scheduler.plan(atMost: 0).rowCount == 4)
        #expect(scheduler.plan().rowCount == 32)
    }

    @Test func `what could never fit is refused`() throws {
        var scheduler = scheduler(context: 20, kv: 16)
        #expect(throws: AdmissionError.tooLong(tokens: 16, limit: 16)) {
            try scheduler.admit(1, submission(16))
        }
        try scheduler.admit(1, submission(15))
        #expect(throws: AdmissionError.duplicate) { try scheduler.admit(1, submission(3)) }
        #expect(throws: AdmissionError.malformed) { try scheduler.admit(2, submission(0)) }
        let done = Submission(
            prompt: [1],
            choices: [.init(index: 0, generated: [1, 2])],
            ending: Ending(maxTokens: 2)
        )
        #expect(throws: AdmissionError.malformed) { try scheduler.admit(3, done) }
        #expect(scheduler.sequenceCount == 1)
    }

    @Test func `a sequence ends at a stop token, its most tokens, or the context's end`() throws {
        func run(_ submission: Submission, _ token: Int32) throws -> [Outcome] {
            var scheduler = scheduler(context: 8)
            try scheduler.admit(1, submission)
            var all: [Outcome] = []
            while !scheduler.isIdle {
                let plan = scheduler.plan()
                all += scheduler.commit(plan.outputs.map { _ in [token] }, of: plan)
            }
            return all
        }
        #expect(try run(submission(3, stop: [9]), 9).map(\.finish) == [.stop])
        #expect(try run(submission(3, max: 2), 9).map(\.finish) == [nil, .length])
        #expect(try run(submission(6, max: 50), 9).map(\.finish) == [nil, .length])
        // Both at once: the stop token is the truth.
        #expect(try run(submission(3, max: 1, stop: [9]), 9).map(\.finish) == [.stop])
    }

    @Test func `stop tokens are suppressed until the least number of tokens`() throws {
        var scheduler = scheduler()
        try scheduler.admit(1, submission(2, max: 9, stop: [3], min: 2))
        var seen: [[Int32]] = []
        for token: Int32 in [5, 6, 3] {
            let plan = scheduler.plan()
            seen.append(plan.outputs.first?.suppressed ?? [])
            _ = scheduler.commit([[token]], of: plan)
        }
        #expect(seen == [[3], [3], []])
        #expect(!scheduler.contains(1))
    }

    @Test func `choices share one prefill`() throws {
        var scheduler = scheduler(kv: 400, step: 64)
        try scheduler.admit(
            1,
            Submission(
                prompt: (0..<40).map { $0 },
                choices: [.init(index: 0), .init(index: 1), .init(index: 2)],
                ending: Ending(maxTokens: 5)
            )
        )
        let first = scheduler.plan()
        #expect(first.rowCount == 40)
        _ = scheduler.commit([[1]], of: first)
        let second = scheduler.plan()
        #expect(second.copies.map(\.count) == [39, 39])
        #expect(second.rowCount == 3)
    }

    @Test func `a choice inherits the prompt of one that ends at once`() throws {
        var scheduler = scheduler(slots: 1, step: 64)
        try scheduler.admit(
            1,
            Submission(
                prompt: (0..<40).map { $0 },
                choices: [.init(index: 0), .init(index: 1)],
                ending: Ending(maxTokens: 1)
            )
        )
        let first = scheduler.plan()
        _ = scheduler.commit([[1]], of: first)
        let second = scheduler.plan()
        #expect(second.released.map(\.kept) == [39])
        #expect(second.copies.isEmpty)
        #expect(second.items.map(\.start) == [39])
        #expect(second.items.map(\.slot) == first.items.map(\.slot))
    }

    @Test func `tokens of an earlier life are context and count`() throws {
        var scheduler = scheduler()
        try scheduler.admit(
            1,
            Submission(
                prompt: [1, 2],
                choices: [.init(index: 0, generated: [3, 4])],
                ending: Ending(maxTokens: 3)
            )
        )
        let plan = scheduler.plan()
        #expect(plan.items.map(\.tokens) == [[1, 2, 3, 4]])
        #expect(plan.outputs.map(\.outputIndex) == [2])
        #expect(scheduler.commit([[5]], of: plan).map(\.finish) == [.length])
    }

    @Test func `the youngest gives way and goes on later`() throws {
        var scheduler = scheduler(slots: 2, context: 30, kv: 30, step: 32)
        try scheduler.admit(1, submission(8, max: 20))
        try scheduler.admit(2, submission(8, max: 20))
        var lost = false
        var ends: [UInt64] = []
        while !scheduler.isIdle {
            let plan = scheduler.plan()
            lost = lost || scheduler.preempted > 0
            for outcome in scheduler.commit(plan.outputs.map { _ in [1] }, of: plan)
            where outcome.finish != nil { ends.append(outcome.sequence.request) }
            #expect(scheduler.usedTokens <= 30)
        }
        #expect(lost)
        #expect(ends == [1, 2])
    }

    @Test func `a failed step drops its requests and no others`() throws {
        var scheduler = scheduler(step: 8)
        try scheduler.admit(1, submission(8))
        try scheduler.admit(2, submission(8))
        let plan = scheduler.plan()
        #expect(scheduler.fail(plan) == [1])
        #expect(scheduler.commit([[1]], of: plan).isEmpty)
        #expect(scheduler.contains(2) && !scheduler.contains(1))
        let next = scheduler.plan()
        #expect(next.released.map(\.slot) == plan.items.map(\.slot))
        #expect(next.items.map(\.sequence.request) == [2])
    }

    @Test func `several tokens of one step count until the end`() throws {
        var scheduler = scheduler()
        try scheduler.admit(1, submission(3, max: 9, stop: [0]))
        let plan = scheduler.plan()
        let outcomes = scheduler.commit([[5, 6, 0, 7]], of: plan)
        #expect(outcomes.map(\.token) == [5, 6, 0])
        #expect(outcomes.map(\.ordinal) == [0, 1, 2])
        #expect(outcomes.last?.finish == .stop)
    }

    /// The macros cannot change a value.
    private func unwrapped(_ plan: Plan?) throws -> Plan { try #require(plan) }
    private func expectNothing(_ plan: Plan?) { #expect(plan == nil) }

    @Test func `the step behind one under way has what goes on in any case`() throws {
        var scheduler = scheduler(slots: 3)
        try scheduler.admit(1, submission(3, max: 3, stop: [9], min: 3))
        try scheduler.admit(2, submission(2, max: 2))
        let first = scheduler.plan()
        let second = try unwrapped(scheduler.following(first))
        #expect(second.items.map(\.sequence.request) == [1, 2])
        #expect(second.items.map(\.follows) == [0, 1])
        #expect(second.items.map(\.start) == [3, 2])
        #expect(second.items.map(\.outputIndex) == [1, 1])
        #expect(second.items.map(\.suppressed) == [[9], []])
        _ = scheduler.commit([[5], [6]], of: first)
        // The second ends by its length, whatever it draws.
        let third = try unwrapped(scheduler.following(second))
        #expect(third.items.map(\.sequence.request) == [1])
        #expect(third.items.map(\.follows) == [0])
        #expect(scheduler.commit([[7], [8]], of: second).map(\.finish) == [nil, .length])
        expectNothing(scheduler.following(third))
        #expect(scheduler.commit([[4]], of: third).map(\.finish) == [.length])
        #expect(scheduler.plan().released.count == 2 && scheduler.isIdle)
    }

    @Test func `what a sequence drew behind its end is dropped`() throws {
        var scheduler = scheduler()
        try scheduler.admit(1, submission(3, stop: [9]))
        let first = scheduler.plan()
        let second = try unwrapped(scheduler.following(first))
        #expect(scheduler.commit([[9]], of: first).map(\.finish) == [.stop])
        #expect(scheduler.commit([[5]], of: second).isEmpty)
        #expect(scheduler.usedTokens == 0)
    }

    @Test func `nothing follows where something else may come first`() throws {
        var scheduler = scheduler(slots: 2, context: 20, kv: 24)
        try scheduler.admit(1, submission(10, max: 9))
        let first = scheduler.plan()
        _ = try unwrapped(scheduler.following(first))
        try scheduler.admit(2, submission(12, max: 9))
        expectNothing(scheduler.following(first))
        _ = scheduler.commit([[5]], of: first)
        // It waits for room, and still waits behind this step.
        let second = scheduler.plan()
        #expect(second.items.map(\.sequence.request) == [1])
        let third = try unwrapped(scheduler.following(second))
        _ = scheduler.commit([[5]], of: second)
        // What came and went may have made room for it.
        try scheduler.admit(3, submission(2, max: 1))
        scheduler.cancel(3)
        expectNothing(scheduler.following(third))
        _ = scheduler.commit([[5]], of: third)
    }

    @Test func `a choice that waits for its sibling's prompt is not kept waiting`() throws {
        var scheduler = scheduler(step: 16)
        let choices = [Submission.Choice(index: 0), Submission.Choice(index: 1)]
        let prompt = (0..<17 as Range<Int32>).map { $0 }
        try scheduler.admit(
            1,
            Submission(prompt: prompt, choices: choices, ending: Ending(maxTokens: 9))
        )
        _ = scheduler.commit([], of: scheduler.plan())
        let last = scheduler.plan()
        #expect(last.items.map(\.tokens.count) == [1])
        expectNothing(scheduler.following(last))
        _ = scheduler.commit([[5]], of: last)
        #expect(scheduler.plan().items.count == 2)
    }
}
