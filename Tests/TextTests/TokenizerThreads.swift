import Dispatch

/// Runs a body on several threads and waits for all.
enum TokenizerThreads {
    static func run(_ count: Int, _ body: @Sendable (Int) -> Void) {
        DispatchQueue.concurrentPerform(iterations: count, execute: body)
    }
}
