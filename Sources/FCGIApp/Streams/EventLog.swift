/// The events of one generation, in order, for any number of readers.
///
/// 1. An event's index never changes; index 0 is the first event of the generation.
/// 2. While the generation runs nothing is dropped, so that any index can be resumed at.
/// 3. A reader gets what it asks for, in order and without a gap, or hears that it is gone.
/// One writer appends a batch for each engine step, which wakes each reader once. Any thread.
public final class EventLog<Element: Sendable>: Sendable {
    struct State {
        /// The events kept.
        var elements: [Element] = []
        /// Index of the first event kept.
        var first = 0
        /// Whether nothing more will come.
        var isFinished = false
        /// Counts calls of `wake`.
        var wakes: UInt64 = 0

        var end: Int { first + elements.count }
    }

    let monitor = Monitor(State())

    /// An empty log.
    public init() {}

    /// Adds the events of one step; false, and nothing is added, once the log is finished.
    @discardableResult
    public func append(_ batch: [Element]) -> Bool {
        guard !batch.isEmpty else { return !isFinished }
        return monitor.update { state in
            guard !state.isFinished else { return false }
            state.elements += batch
            return true
        }
    }

    /// Says that nothing more will come; once is enough, more does no harm.
    public func finish() {
        monitor.update { $0.isFinished = true }
    }

    /// Makes the next read of every reader return `.woken`, so that it looks at what else has changed:
    /// its client left, or the model's load went on.
    public func wake() {
        monitor.update { $0.wakes &+= 1 }
    }

    /// Drops all but the last `count` events of a finished log; does nothing to a running one.
    public func trim(keeping count: Int) {
        let dropped: [Element] = monitor.update { state in
            guard state.isFinished, count >= 0, state.elements.count > count else { return [] }
            let old = state.elements
            state.elements = Array(old.suffix(count))
            state.first += old.count - count
            return old
        }
        // Freed here, outside the lock.
        _ = dropped
    }

    /// Whether nothing more will come.
    public var isFinished: Bool { monitor.withLock { $0.isFinished } }

    /// The indexes of the events kept.
    public var indexes: Range<Int> { monitor.withLock { $0.first..<$0.end } }

    /// A reader that starts at an index, 0 by default.
    public func reader(from index: Int = 0) -> EventReader<Element> {
        EventReader(log: self, next: index, wakes: monitor.withLock { $0.wakes })
    }
}

/// A place in a log; owned by one thread.
public struct EventReader<Element: Sendable>: Sendable {
    private let log: EventLog<Element>
    /// Index of the event that comes next.
    public private(set) var next: Int
    private var wakes: UInt64

    init(log: EventLog<Element>, next: Int, wakes: UInt64) {
        self.log = log
        self.next = next
        self.wakes = wakes
    }

    /// What a read brought.
    public enum Batch: Sendable {
        /// All events there are from the place on, at least one; the first has the index `from`.
        case events([Element], from: Int)
        /// The log is finished and read to its end.
        case ended
        /// Nothing came in the time given.
        case idle
        /// `wake` was called since the last time this was returned.
        case woken
        /// The place is before the first event kept.
        case gone(first: Int)
        /// The place is after the end: an index that was never given out.
        case ahead(end: Int)
    }

    /// Waits for events, at most `timeout` seconds; 0 only looks.
    public mutating func read(timeout: Double) -> Batch {
        let (place, seen) = (next, wakes)
        let found = log.monitor.wait(timeout: timeout) { state -> (Batch, UInt64)? in
            if place < state.first { return (.gone(first: state.first), seen) }
            if place > state.end { return (.ahead(end: state.end), seen) }
            if place < state.end {
                let kept = state.elements
                let events = place == state.first ? kept : Array(kept[(place - state.first)...])
                return (.events(events, from: place), seen)
            }
            if state.isFinished { return (.ended, seen) }
            return state.wakes == seen ? nil : (.woken, state.wakes)
        }
        guard let (batch, latest) = found else { return .idle }
        wakes = latest
        if case .events(let events, _) = batch { next += events.count }
        return batch
    }
}

extension EventReader.Batch: Equatable where Element: Equatable {}
