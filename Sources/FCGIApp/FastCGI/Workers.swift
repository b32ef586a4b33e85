internal import Glibc
internal import Synchronization

/// Threads with small stacks that run jobs.
///
/// A thread that ends a job waits for the next one for a while, so that a burst reuses threads
/// and a quiet server has few.
///
/// 1. At most `limit` jobs run at once; `run` says false beyond that and takes nothing.
/// 2. Each idle thread has a place in `idle`; a job is handed to the one that waits the shortest time,
///    so the others time out and end.
final class Workers: Sendable {
    private final class Seat: @unchecked Sendable {
        // Guarded by `mutex`.
        var job: (@Sendable () -> Void)?
        let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

        init() {
            pthread_mutex_init(mutex, nil)
            pthread_cond_init(condition, nil)
        }

        deinit {
            pthread_cond_destroy(condition)
            pthread_mutex_destroy(mutex)
            condition.deallocate()
            mutex.deallocate()
        }

        func hand(_ job: @escaping @Sendable () -> Void) {
            pthread_mutex_lock(mutex)
            self.job = job
            pthread_cond_signal(condition)
            pthread_mutex_unlock(mutex)
        }

        /// The job handed to this seat; nil after `seconds` without one; nil `seconds` = waits for ever.
        func take(seconds: Int?) -> (@Sendable () -> Void)? {
            var deadline = timespec()
            clock_gettime(CLOCK_REALTIME, &deadline)
            deadline.tv_sec += seconds ?? 0
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            while job == nil {
                if seconds == nil {
                    pthread_cond_wait(condition, mutex)
                } else if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
                    break
                }
            }
            defer { job = nil }
            return job
        }
    }

    private struct State {
        var running = 0
        var idle: [Seat] = []
    }

    private let state = Mutex(State())
    private let limit: Int
    private let stackBytes: Int

    init(limit: Int, stackBytes: Int) {
        self.limit = limit
        self.stackBytes = stackBytes
    }

    /// Jobs running now.
    var running: Int { state.withLock { $0.running } }

    /// Runs the job on a thread; false where all are busy or no thread can be made.
    func run(_ job: @escaping @Sendable () -> Void) -> Bool {
        enum Way {
            case full, fresh
            case seat(Seat)
        }
        let way: Way = state.withLock { state in
            guard state.running < limit else { return .full }
            state.running += 1
            if let seat = state.idle.popLast() { return .seat(seat) }
            return .fresh
        }
        switch way {
        case .full: return false
        case .seat(let seat):
            seat.hand(job)
            return true
        case .fresh:
            if start(job) { return true }
            state.withLock { $0.running -= 1 }
            return false
        }
    }

    private func start(_ job: @escaping @Sendable () -> Void) -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackBytes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let box = Unmanaged.passRetained(Box { [self] in live(first: job) })
        var thread: pthread_t = 0
        let made = pthread_create(
            &thread,
            &attributes,
            { context in
                if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            },
            box.toOpaque()
        )
        if made != 0 { box.release() }
        return made == 0
    }

    private func live(first: @escaping @Sendable () -> Void) {
        Self.blockSignals()
        let seat = Seat()
        var job: (@Sendable () -> Void)? = first
        while let next = job {
            next()
            state.withLock { state in
                state.running -= 1
                state.idle.append(seat)
            }
            job = seat.take(seconds: 10)
            if job == nil {
                // Nobody may hand us a job once we are off the list; who took us off already will.
                let left = state.withLock { state in
                    guard let place = state.idle.firstIndex(where: { $0 === seat }) else {
                        return false
                    }
                    state.idle.remove(at: place)
                    return true
                }
                if !left { job = seat.take(seconds: nil) }
            }
        }
    }

    /// libfcgi takes an interrupted call for a broken connection; so signals go to other threads, but
    /// for those that report a fault of this one.
    private static func blockSignals() {
        var set = sigset_t()
        sigfillset(&set)
        for fault in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS] {
            sigdelset(&set, fault)
        }
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
