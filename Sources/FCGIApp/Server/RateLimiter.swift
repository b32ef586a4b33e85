internal import Synchronization

/// Limits of one key: requests and tokens a minute as token buckets, generations at once, tokens a day.
///
/// Reservation happens at admission with the most that the request can use; `settle` gives back what
/// it did not. Pure over the time that is passed in (seconds of a monotonic clock).
struct KeyBudget {
    /// A bucket that holds one minute's worth and refills evenly.
    struct Bucket {
        var limit: Double
        var level: Double
        var time: Double

        init(limit: Double, now: Double) {
            self.limit = limit
            level = limit
            time = now
        }

        mutating func refill(now: Double) {
            level = min(limit, level + (now - time) * limit / 60)
            time = now
        }

        /// Seconds until `amount` is there; 0 = now.
        func wait(for amount: Double) -> Double {
            max(0, (min(amount, limit) - level) * 60 / limit)
        }
        /// Seconds until the bucket is full.
        var reset: Double { (limit - level) * 60 / limit }
    }

    /// The limits of a key; nil = none.
    struct Limits: Equatable {
        var requests: Int?
        var tokens: Int?
        var parallel: Int?
    }

    private(set) var limits: Limits
    private(set) var requests: Bucket?
    private(set) var tokens: Bucket?
    private(set) var running = 0

    init(limits: Limits, now: Double) {
        self.limits = limits
        requests = limits.requests.map { Bucket(limit: Double($0), now: now) }
        tokens = limits.tokens.map { Bucket(limit: Double($0), now: now) }
    }

    /// Takes over changed limits; what was used stays used.
    mutating func adopt(_ new: Limits, now: Double) {
        guard new != limits else { return }
        let count = running
        self = KeyBudget(limits: new, now: now)
        running = count
    }

    /// Counts one request.
    ///
    /// Nil = admitted, else the seconds to wait.
    mutating func admitRequest(now: Double) -> Double? {
        guard var bucket = requests else { return nil }
        bucket.refill(now: now)
        defer { requests = bucket }
        let wait = bucket.wait(for: 1)
        guard wait <= 0 else { return wait }
        bucket.level -= 1
        return nil
    }

    /// Reserves a generation of at most `amount` tokens.
    ///
    /// Nil = admitted, else the seconds to wait.
    mutating func reserve(tokens amount: Int, now: Double) -> Double? {
        if let parallel = limits.parallel, running >= parallel { return 1 }
        if var bucket = tokens {
            bucket.refill(now: now)
            defer { tokens = bucket }
            let wait = bucket.wait(for: Double(amount))
            guard wait <= 0 else { return wait }
            bucket.level -= Double(amount)
        }
        running += 1
        return nil
    }

    /// Ends a generation that had reserved `reserved` tokens and used `used`.
    mutating func settle(reserved: Int, used: Int) {
        running = max(0, running - 1)
        tokens?.level += Double(max(0, reserved - used))
    }
}

/// The budgets of all keys; safe from any thread.
final class RateLimiter: Sendable {
    private let budgets = Mutex<[String: KeyBudget]>([:])

    /// Runs `body` on the key's budget, with its present limits.
    func with<T: Sendable>(
        _ key: String,
        _ limits: KeyBudget.Limits,
        now: Double,
        _ body: (inout sending KeyBudget) -> sending T
    ) -> T {
        budgets.withLock { budgets in
            var budget = budgets[key] ?? KeyBudget(limits: limits, now: now)
            budget.adopt(limits, now: now)
            defer { budgets[key] = budget }
            return body(&budget)
        }
    }
}
