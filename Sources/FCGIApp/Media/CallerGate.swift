internal import Foundation

/// Bounds of work at once: in all, and of one caller.
final class CallerGate: @unchecked Sendable {
    // Sendable: everything is touched with the lock held only.

    private let most: Int
    private let perCaller: Int
    private let lock = NSCondition()
    private var running = 0
    private var callers: [String: Int] = [:]

    init(most: Int, perCaller: Int) {
        self.most = most
        self.perCaller = perCaller
    }

    /// Waits for a place; false where none came free in time.
    func enter(_ caller: String, seconds: Double) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        let end = Date(timeIntervalSinceNow: seconds)
        while running >= most || callers[caller, default: 0] >= perCaller {
            guard lock.wait(until: end) else { return false }
        }
        running += 1
        callers[caller, default: 0] += 1
        return true
    }

    func leave(_ caller: String) {
        lock.lock()
        defer { lock.unlock() }
        running -= 1
        let left = callers[caller, default: 1] - 1
        callers[caller] = left > 0 ? left : nil
        lock.broadcast()
    }
}
