// NVIDIA's management library, where the machine has it: memory of GPUs as seen from outside the engine.
//
// 1. Never CUDA: no context is made and no memory of a GPU is taken.
// 2. A driver in trouble may hold a call for ever. One thread makes all calls; whoever asks waits for it
//    no longer than `patience`, and not at all while it is overdue.
// 3. A machine without the library is the normal case, and costs an attempt every half minute.

internal import CLinux
internal import Foundation

/// Reads the memory of this machine's GPUs.
///
/// Safe from any thread. The thread and the library are there from the first reading on, for good.
public final class NVML: @unchecked Sendable {
    // Sendable: everything that changes is touched with the lock held only.

    /// Seconds for which it is believed that there is nothing to see.
    private static let blindness = 30.0

    private let library: String
    private let patience: Double
    private let lock = NSCondition()
    private var hasThread = false
    /// Readings that were asked for, begun and finished; they are numbered from 1.
    private var wanted = 0, begun = 0, finished = 0
    private var beganAt = 0.0
    private var readAt = 0.0
    private var sight = GPUSight.nothing("")

    /// - Parameters:
    ///   - library: name or path of the library.
    ///   - patience: seconds that a reading may take.
    public init(library: String = "libnvidia-ml.so.1", patience: Double = 0.5) {
        self.library = library
        self.patience = patience
    }

    /// The GPUs' memory, read at most `age` seconds ago; waits `patience` seconds at most.
    public func read(age: Double = 1) -> GPUSight {
        lock.lock()
        defer { lock.unlock() }
        let now = Self.seconds
        let isBlind = finished > 0 && sight.all.isEmpty
        if finished > 0, now - readAt <= (isBlind ? Self.blindness : age) { return sight }
        if begun > finished, now - beganAt > patience { return late }
        if !hasThread {
            let thread = Thread { [self] in work() }
            thread.stackSize = 1 << 20
            thread.start()
            hasThread = true
        }
        // One that is under way may have begun too early for who wants the present.
        let number = begun > finished && age > 0 ? begun : begun + 1
        wanted = max(wanted, number)
        lock.broadcast()
        let end = Date(timeIntervalSinceNow: patience)
        while finished < number { guard lock.wait(until: end) else { return late } }
        return sight
    }

    private var late: GPUSight { .nothing("the driver does not answer") }

    private func work() {
        _ = tg_set_thread_name("nvml")
        var session: NVMLSession?
        while true {
            lock.lock()
            while wanted <= begun { lock.wait() }
            begun = wanted
            beganAt = Self.seconds
            lock.unlock()
            var seen: GPUSight
            do throws(NVMLProblem) {
                let open: NVMLSession
                if let session { open = session } else { open = try NVMLSession(library) }
                session = open
                seen = .gpus(try open.gpus())
            } catch {
                // The next reading begins anew: drivers are reloaded, GPUs fall off the bus and come back.
                session?.close()
                session = nil
                seen = .nothing(error.text)
            }
            lock.lock()
            sight = seen
            finished = begun
            readAt = Self.seconds
            lock.broadcast()
            lock.unlock()
        }
    }

    private static var seconds: Double { Double(tg_monotonic_ns()) / 1e9 }
}
