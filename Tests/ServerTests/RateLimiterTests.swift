import Server
import Testing

/// A key's limits, over times that the tests choose.
@Suite struct RateLimiterTests {
    private static let noon = 20_000.5 * 86_400
    private let limiter = RateLimiter()

    private func reserve(
        _ amount: Int,
        _ limits: KeyBudget.Limits,
        key: String = "k",
        now: Double = 0,
        utc: Double = noon
    ) -> KeyBudget.Refusal? {
        limiter.with(key, limits, now: now, utc: utc) { $0.reserve(tokens: amount, now: now) }
    }

    private func settle(
        _ reserved: Int,
        used: Int,
        _ limits: KeyBudget.Limits,
        key: String = "k",
        now: Double = 0,
        utc: Double = noon
    ) {
        limiter.with(key, limits, now: now, utc: utc) { $0.settle(reserved: reserved, used: used) }
    }

    private static func daily(_ tokens: Int, owner: String = "o") -> KeyBudget.Limits {
        KeyBudget.Limits(daily: KeyBudget.Daily(owner: owner, tokens: tokens))
    }

    @Test func `a day's budget ends with the day of UTC`() {
        let limits = Self.daily(100)
        #expect(reserve(5000, limits) == nil, "what a request may use at most does not shut it out")
        settle(5000, used: 60, limits)
        #expect(reserve(5000, limits) == nil)
        settle(5000, used: 60, limits)
        #expect(reserve(1, limits) == .spent(seconds: 43_200))
        let midnight = Self.noon + 43_200
        #expect(reserve(1, limits, utc: midnight - 0.5) == .spent(seconds: 1))
        #expect(reserve(1, limits, utc: midnight) == nil)
    }

    @Test func `what runs counts with all that it may use, and on the day on which it ends`() {
        let limits = Self.daily(100)
        #expect(reserve(100, limits) == nil)
        guard case .limit = reserve(1, limits) else {
            Issue.record("two requests may not share one rest")
            return
        }
        let tomorrow = Self.noon + 86_400
        settle(100, used: 100, limits, utc: tomorrow)
        #expect(reserve(1, limits, utc: tomorrow) == .spent(seconds: 43_200))
    }

    @Test func `an owner's keys share a day, other owners do not`() {
        #expect(reserve(100, Self.daily(100), key: "old") == nil)
        settle(100, used: 100, Self.daily(100), key: "old")
        #expect(reserve(1, Self.daily(100), key: "new") == .spent(seconds: 43_200))
        #expect(reserve(1, Self.daily(101), key: "new") == nil, "each key has its own bound")
        #expect(reserve(1, Self.daily(100, owner: "p"), key: "other") == nil)
    }

    @Test func `a clock that is put back does not give the day back`() {
        let limits = Self.daily(10)
        #expect(reserve(10, limits) == nil)
        settle(10, used: 10, limits)
        #expect(reserve(1, limits, utc: Self.noon - 86_400) != nil)
    }

    @Test func `changed limits keep what was used`() {
        func requests(_ limit: Int, now: Double = 0) -> Double? {
            limiter.with("k", KeyBudget.Limits(requests: limit), now: now) {
                $0.admitRequest(now: now)
            }
        }
        for _ in 0..<10 { #expect(requests(10) == nil) }
        #expect(requests(10) == 6)
        for _ in 0..<2 { #expect(requests(12) == nil, "only the two that came on top") }
        #expect(requests(12) == 5)
        #expect(requests(6) == 10)
        #expect(requests(6, now: 10) == nil)
    }

    @Test func `limits that did not change for the tokens keep their level`() {
        let before = KeyBudget.Limits(tokens: 600)
        #expect(reserve(600, before) == nil)
        let after = KeyBudget.Limits(requests: 5, tokens: 600)
        #expect(reserve(60, after) == .limit("600 tokens per minute", seconds: 6))
        settle(600, used: 100, after)
        #expect(reserve(500, after) == nil)
    }

    @Test func `generations at once are bounded, and a refusal reserves nothing`() {
        let limits = KeyBudget.Limits(
            tokens: 100,
            parallel: 1,
            daily: KeyBudget.Daily(owner: "o", tokens: 100)
        )
        #expect(reserve(50, limits) == nil)
        for _ in 0..<5 {
            #expect(reserve(40, limits) == .limit("1 requests at once", seconds: 1))
        }
        settle(50, used: 10, limits)
        #expect(reserve(90, limits) == nil)
    }

    @Test func `a bucket is never fuller than its limit`() {
        let limits = KeyBudget.Limits(tokens: 100)
        #expect(reserve(100, limits) == nil)
        settle(100, used: 0, limits, now: 60)
        let level = limiter.with("k", limits, now: 60) { $0.tokens?.level }
        #expect(level == 100)
    }
}
