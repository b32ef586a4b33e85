import Glibc

/// A value behind a lock, with a condition to wait on.
///
/// Mutex of the standard library has no condition; this pairs one of pthread's with another on the
/// monotonic clock. Waiting costs no processor time. Any thread.
final class Monitor<State>: @unchecked Sendable {
    private var state: State
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init(_ state: State) {
        self.state = state
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Looks at or changes the state without waking anyone.
    func withLock<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state)
    }

    /// Changes the state and wakes all who wait.
    func update<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        let result = body(&state)
        // Under the lock, so that a waiter that is the last owner cannot free the condition first.
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
        return result
    }

    /// Waits until `body` gives a result; nil after `timeout` seconds without one.
    func wait<Result>(timeout: Double, _ body: (inout State) -> Result?) -> Result? {
        var deadline = MonotonicTime.deadline(after: timeout)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            guard pthread_cond_timedwait(condition, mutex, &deadline) == 0 else {
                return body(&state)
            }
        }
    }
}

/// CLOCK_MONOTONIC.
public enum MonotonicTime {
    /// Seconds since some point before the process started.
    @Sendable public static func now() -> Double {
        let time = read()
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// The moment so many seconds from now, at most a year; negative numbers and NaN are now.
    static func deadline(after seconds: Double) -> timespec {
        let bounded = seconds > 0 ? min(seconds, 31_536_000) : 0
        var time = read()
        let whole = bounded.rounded(.down)
        time.tv_sec += Int(whole)
        time.tv_nsec += Int((bounded - whole) * 1e9)
        if time.tv_nsec >= 1_000_000_000 {
            time.tv_nsec -= 1_000_000_000
            time.tv_sec += 1
        }
        return time
    }

    private static func read() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time
    }
}
