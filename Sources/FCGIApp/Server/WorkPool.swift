internal import CLinux
internal import Foundation
internal import Synchronization

/// A few threads that run small jobs; jobs with the same number run one after another, in order.
///
/// Generations use it: the link's reader hands each step over and goes on reading.
final class WorkPool: Sendable {
    private final class Lane: Sendable {
        private let jobs = Mutex<[@Sendable () -> Void]>([])
        private let wake = DispatchSemaphore(value: 0)

        func add(_ job: @escaping @Sendable () -> Void) {
            let wasEmpty = jobs.withLock { jobs in
                jobs.append(job)
                return jobs.count == 1
            }
            if wasEmpty { wake.signal() }
        }

        func work() -> Never {
            while true {
                wake.wait()
                let batch = jobs.withLock { jobs in
                    defer { jobs = [] }
                    return jobs
                }
                for job in batch { job() }
            }
        }
    }

    private let lanes: [Lane]

    /// Starts the threads; they live as long as the process.
    init(threads: Int) {
        lanes = (0..<max(1, threads)).map { _ in Lane() }
        for lane in lanes {
            let thread = Thread {
                _ = tg_set_thread_name("transcripts")
                lane.work()
            }
            thread.stackSize = 1 << 20
            thread.start()
        }
    }

    /// Runs `job` after all earlier jobs with this number.
    func run(_ number: UInt64, _ job: @escaping @Sendable () -> Void) {
        lanes[Int(number % UInt64(lanes.count))].add(job)
    }
}
