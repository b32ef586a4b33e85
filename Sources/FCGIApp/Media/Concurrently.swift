internal import Foundation
internal import Synchronization

/// Blocking work on several items at once.
enum Concurrently {
    private final class Shared<Item: Sendable, Output: Sendable>: Sendable {
        let items: [Item]
        let isLast: @Sendable (Output) -> Bool
        let work: @Sendable (Item) -> Output
        private let state: Mutex<(next: Int, outputs: [Output?])>

        init(
            _ items: [Item],
            _ isLast: @escaping @Sendable (Output) -> Bool,
            _ work: @escaping @Sendable (Item) -> Output
        ) {
            self.items = items
            self.isLast = isLast
            self.work = work
            state = Mutex((0, Array(repeating: nil, count: items.count)))
        }

        func run() {
            while true {
                let place = state.withLock { state in
                    defer { state.next += 1 }
                    return state.next
                }
                guard place < items.count else { return }
                let output = work(items[place])
                state.withLock { state in
                    state.outputs[place] = output
                    if isLast(output) { state.next = items.count }
                }
            }
        }

        var outputs: [Output?] { state.withLock { $0.outputs } }
    }

    /// The work's outputs in the items' order; the calling thread works too, with up to `width - 1` others.
    ///
    /// After an output that `isLast` no other item is begun: those have nil.
    static func map<Item: Sendable, Output: Sendable>(
        _ items: [Item],
        width: Int,
        until isLast: @escaping @Sendable (Output) -> Bool,
        _ work: @escaping @Sendable (Item) -> Output
    ) -> [Output?] {
        let shared = Shared(items, isLast, work)
        let done = DispatchGroup()
        for _ in 1..<max(1, min(width, items.count)) {
            done.enter()
            let thread = Thread {
                shared.run()
                done.leave()
            }
            thread.stackSize = 1 << 20
            thread.start()
        }
        shared.run()
        done.wait()
        return shared.outputs
    }
}
