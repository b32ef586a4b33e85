internal import Foundation
internal import Synchronization

/// Limits of one key: requests and tokens as token buckets, generations at once, tokens of a day.
///
/// Reservation happens at admission with the most that the request can use; `settle` gives back what
/// it did not. Pure over the time that is passed in (seconds of a monotonic clock).
package struct KeyBudget: Sendable {
    /// A bucket that holds one minute's worth and refills evenly.
    package struct Bucket: Sendable {
        /// What it holds when full.
        package var limit: Double
        /// What it holds; below 0 after a reservation of more than the limit.
        package var level: Double
        var time: Double

        init(limit: Double, now: Double) {
            self.limit = limit
            level = limit
            time = now
        }

        mutating func refill(now: Double) {
            level = min(limit, level + max(0, now - time) * limit / 60)
            time = now
        }

        /// Seconds until `amount` is there; 0 = now.
        func wait(for amount: Double) -> Double {
            max(0, (min(amount, limit) - level) * 60 / limit)
        }
        /// Seconds until the bucket is full.
        package var reset: Double { (limit - level) * 60 / limit }

        /// The bucket of a changed limit; what was used stays used, as far as the new limit goes.
        func adopting(_ new: Double?, now: Double) -> Bucket? {
            guard let new else { return nil }
            var old = self
            old.refill(now: now)
            var bucket = Bucket(limit: new, now: now)
            bucket.level = max(min(0, old.level), new - (old.limit - old.level))
            return bucket
        }
    }

    /// The limits of a key; nil = none.
    package struct Limits: Sendable, Equatable {
        /// Requests a minute.
        package var requests: Int?
        /// Tokens a minute.
        package var tokens: Int?
        /// Generations at once.
        package var parallel: Int?
        /// Tokens a day.
        package var daily: Daily?

        /// Sets the limits.
        package init(
            requests: Int? = nil,
            tokens: Int? = nil,
            parallel: Int? = nil,
            daily: Daily? = nil
        ) {
            self.requests = requests
            self.tokens = tokens
            self.parallel = parallel
            self.daily = daily
        }
    }

    /// Tokens that a key may use on one day of UTC; all keys of an owner draw on one count.
    package struct Daily: Sendable, Equatable {
        /// Whose count it is.
        package var owner: String
        /// Tokens.
        package var tokens: Int

        /// Names the owner and the tokens.
        package init(owner: String, tokens: Int) {
            self.owner = owner
            self.tokens = tokens
        }
    }

    /// What an owner used on a day.
    struct Day: Sendable {
        static let seconds = 86_400.0

        var number = 0.0
        /// Seconds until the next one.
        var left = Day.seconds
        var used = 0
        /// Reserved by generations that run; they count on the day on which they end.
        var held = 0

        /// Takes the time of UTC, seconds since 1970.
        mutating func roll(to utc: Double) {
            let today = (utc / Self.seconds).rounded(.down)
            left = max(1, (today + 1) * Self.seconds - utc)
            // A clock that was put back makes no new day.
            guard today > number else { return }
            number = today
            used = 0
        }
    }

    /// Why a generation is not admitted.
    package enum Refusal: Sendable, Equatable {
        /// A limit that passes by itself: its name, and the seconds to wait.
        case limit(String, seconds: Double)
        /// The day's tokens are used up; seconds until the next day.
        case spent(seconds: Double)
    }

    package private(set) var limits: Limits
    package private(set) var requests: Bucket?
    package private(set) var tokens: Bucket?
    package private(set) var running = 0
    var day = Day()

    init(limits: Limits, now: Double) {
        self.limits = limits
        requests = limits.requests.map { Bucket(limit: Double($0), now: now) }
        tokens = limits.tokens.map { Bucket(limit: Double($0), now: now) }
    }

    /// Takes over changed limits; what was used stays used.
    mutating func adopt(_ new: Limits, now: Double) {
        guard new != limits else { return }
        let fresh = KeyBudget(limits: new, now: now)
        requests = requests?.adopting(new.requests.map(Double.init), now: now) ?? fresh.requests
        tokens = tokens?.adopting(new.tokens.map(Double.init), now: now) ?? fresh.tokens
        limits = new
    }

    /// Counts one request.
    ///
    /// Nil = admitted, else the seconds to wait.
    package mutating func admitRequest(now: Double) -> Double? {
        guard var bucket = requests else { return nil }
        bucket.refill(now: now)
        defer { requests = bucket }
        let wait = bucket.wait(for: 1)
        guard wait <= 0 else { return wait }
        bucket.level -= 1
        return nil
    }

    /// Reserves a generation of at most `amount` tokens; nil = admitted.
    ///
    /// A day's budget admits a generation as long as it is not used up: most requests allow for far
    /// more tokens than they use, so the last one may go beyond it.
    package mutating func reserve(tokens amount: Int, now: Double) -> Refusal? {
        if let parallel = limits.parallel, running >= parallel {
            return .limit("\(parallel) requests at once", seconds: 1)
        }
        if let daily = limits.daily {
            if day.used >= daily.tokens { return .spent(seconds: day.left) }
            // Those that run may use up the rest; when they end, it is known.
            if day.used + day.held >= daily.tokens {
                return .limit("\(daily.tokens) tokens per day, held by requests", seconds: 1)
            }
        }
        if var bucket = tokens {
            bucket.refill(now: now)
            defer { tokens = bucket }
            let wait = bucket.wait(for: Double(amount))
            guard wait <= 0 else {
                return .limit("\(limits.tokens ?? 0) tokens per minute", seconds: wait)
            }
            bucket.level -= Double(amount)
        }
        if limits.daily != nil { day.held += amount }
        running += 1
        return nil
    }

    /// Ends a generation that had reserved `reserved` tokens and used `used`.
    package mutating func settle(reserved: Int, used: Int) {
        running = max(0, running - 1)
        if var bucket = tokens {
            bucket.level = min(bucket.limit, bucket.level + Double(max(0, reserved - used)))
            tokens = bucket
        }
        guard limits.daily != nil else { return }
        day.held = max(0, day.held - reserved)
        day.used += max(0, used)
    }
}

/// The budgets of all keys, and the days of their owners; safe from any thread.
package final class RateLimiter: Sendable {
    private struct State {
        var budgets: [String: KeyBudget] = [:]
        /// By owner: a new key of the same owner finds what the old one used.
        var days: [String: KeyBudget.Day] = [:]
    }

    private let state = Mutex(State())

    /// No key is known yet.
    package init() {}

    /// Runs `body` on the key's budget, with its present limits.
    ///
    /// `now`: seconds of a monotonic clock; `utc`: seconds since 1970.
    package func with<T: Sendable>(
        _ key: String,
        _ limits: KeyBudget.Limits,
        now: Double,
        utc: Double = Date().timeIntervalSince1970,
        _ body: (inout sending KeyBudget) -> sending T
    ) -> T {
        state.withLock { state in
            var budget = state.budgets[key] ?? KeyBudget(limits: limits, now: now)
            budget.adopt(limits, now: now)
            if let owner = limits.daily?.owner {
                budget.day = state.days[owner] ?? KeyBudget.Day()
                budget.day.roll(to: utc)
            }
            let result = body(&budget)
            if let owner = limits.daily?.owner { state.days[owner] = budget.day }
            state.budgets[key] = budget
            return result
        }
    }
}
