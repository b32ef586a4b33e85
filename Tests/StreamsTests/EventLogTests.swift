import Foundation
import Streams
import Synchronization
import Testing

@Suite struct EventLogTests {
    @Test func `a reader gets all that is there at once, then waits`() {
        let log = EventLog<Int>()
        log.append([1, 2])
        log.append([3])
        let reader = Reading(log)
        #expect(reader.read(timeout: 0) == .events([1, 2, 3], from: 0))
        #expect(reader.read(timeout: 0) == .idle)
        log.append([4])
        #expect(reader.read(timeout: 0) == .events([4], from: 3))
        log.append([])
        #expect(reader.read(timeout: 0) == .idle)
        log.finish()
        #expect(reader.read(timeout: 0) == .ended)
        #expect(!log.append([5]))
        #expect(reader.read(timeout: 0) == .ended)
    }

    @Test func `a reader resumes at an index`() {
        let log = EventLog<Int>()
        log.append(Array(0..<10))
        let reader = Reading(log, from: 7)
        #expect(reader.read(timeout: 0) == .events([7, 8, 9], from: 7))
        let ahead = Reading(log, from: 11)
        #expect(ahead.read(timeout: 0) == .ahead(end: 10))
        let atEnd = Reading(log, from: 10)
        #expect(atEnd.read(timeout: 0) == .idle)
    }

    @Test func `nothing is dropped while the generation runs`() {
        let log = EventLog<Int>()
        log.append(Array(0..<5000))
        log.trim(keeping: 10)
        #expect(log.indexes == 0..<5000)
        log.finish()
        log.trim(keeping: 10)
        #expect(log.indexes == 4990..<5000)
        log.trim(keeping: 20)
        #expect(log.indexes == 4990..<5000)
    }

    @Test func `events that are gone are said to be gone`() {
        let log = EventLog<Int>()
        log.append(Array(0..<100))
        log.finish()
        log.trim(keeping: 10)
        let early = Reading(log, from: 89)
        #expect(early.read(timeout: 0) == .gone(first: 90))
        let late = Reading(log, from: 90)
        #expect(late.read(timeout: 0) == .events(Array(90..<100), from: 90))
        #expect(late.read(timeout: 0) == .ended)
        log.trim(keeping: 0)
        let end = Reading(log, from: 100)
        #expect(end.read(timeout: 0) == .ended)
        #expect(early.read(timeout: 0) == .gone(first: 100))
    }

    @Test func `a wake is heard once by each reader, even between reads`() {
        let log = EventLog<Int>()
        let one = Reading(log)
        let two = Reading(log)
        log.wake()
        #expect(one.read(timeout: 5) == .woken)
        #expect(one.read(timeout: 0) == .idle)
        #expect(two.read(timeout: 5) == .woken)
        log.append([1])
        log.wake()
        #expect(one.read(timeout: 5) == .events([1], from: 0))
        #expect(one.read(timeout: 5) == .woken)
        let fresh = Reading(log, from: 1)
        #expect(fresh.read(timeout: 0) == .idle)
    }

    @Test func `a waiting reader is woken by events, the end and wake`() {
        let log = EventLog<Int>()
        let heard = Mutex<[String]>([])
        let thread = Worker {
            let reader = Reading(log)
            while true {
                let batch = reader.read(timeout: 20)
                heard.withLock { $0.append("\(batch)") }
                guard batch != .ended, batch != .idle else { return }
                if batch == .events([1], from: 0) { log.wake() }
                if batch == .woken { log.finish() }
            }
        }
        usleep(20_000)
        log.append([1])
        thread.join()
        #expect(heard.withLock { $0 } == ["events([1], from: 0)", "woken", "ended"])
    }

    @Test func `an idle read takes as long as it was told`() {
        let reader = Reading(EventLog<Int>())
        let start = MonotonicTime.now()
        #expect(reader.read(timeout: 0.05) == .idle)
        let waited = MonotonicTime.now() - start
        #expect(waited >= 0.049)
        #expect(waited < 5)
        for timeout in [-1, -Double.infinity, Double.nan, 0] {
            #expect(reader.read(timeout: timeout) == .idle)
        }
    }

    @Test func `many readers of a running log all hear the same`() {
        let log = EventLog<Int>()
        let total = 2000
        let sums = Mutex<[[Int]]>([])
        let threads = (0..<16).map { _ in
            Worker {
                let reader = Reading(log)
                var seen: [Int] = []
                reading: while true {
                    switch reader.read(timeout: 20) {
                    case .events(let events, let from):
                        if from != seen.count { break reading }
                        seen += events
                    case .woken: continue
                    default: break reading
                    }
                }
                sums.withLock { $0.append(seen) }
            }
        }
        for step in 0..<(total / 4) {
            log.append(Array(step * 4..<step * 4 + 4))
            if step % 50 == 0 { log.wake() }
        }
        log.finish()
        for thread in threads { thread.join() }
        let all = sums.withLock { $0 }
        #expect(all.count == 16)
        for seen in all { #expect(seen == Array(0..<total)) }
    }
}

/// A reader as an object, since `#expect` takes no mutating calls.
final class Reading<Element: Sendable> {
    private var reader: EventReader<Element>

    init(_ log: EventLog<Element>, from index: Int = 0) { reader = log.reader(from: index) }

    func read(timeout: Double) -> EventReader<Element>.Batch { reader.read(timeout: timeout) }
}

/// A thread that can be joined.
final class Worker: Sendable {
    private let done = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        let done = done
        Thread.detachNewThread {
            body()
            done.signal()
        }
    }

    func join() { done.wait() }
}
