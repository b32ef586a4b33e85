import Foundation
import Streams
import Synchronization
import Testing

/// A clock that a test sets.
private final class Clock: Sendable {
    private let seconds = Mutex<Double>(100)
    func advance(_ by: Double) { seconds.withLock { $0 += by } }
    var read: @Sendable () -> Double { { self.seconds.withLock { $0 } } }
}

private typealias Registry = StreamRegistry<Int, String>

@Suite struct StreamRegistryTests {
    private let clock = Clock()
    private let key = StreamKey(owner: "ann", session: "s")

    private func registry(_ change: (inout StreamSettings) -> Void = { _ in }) -> Registry {
        var settings = StreamSettings()
        change(&settings)
        return Registry(settings: settings, clock: clock.read)
    }

    private func created(
        _ registry: Registry,
        _ key: StreamKey,
        explicit: Bool = true
    ) throws -> Registry.Stream {
        let opening = registry.open(key, bodyHash: [1], isExplicit: explicit, context: "c")
        guard case .created(let stream) = opening else {
            throw Unexpected()
        }
        return stream
    }

    @Test func `the same request again reads the same stream, another one is a conflict`() throws {
        let registry = registry()
        let stream = try created(registry, key)
        #expect(stream.context == "c")
        guard
            case .existing(let again) = registry.open(
                key,
                bodyHash: [1],
                isExplicit: true,
                context: "d"
            )
        else { throw Unexpected() }
        #expect(again === stream)
        guard case .conflict = registry.open(key, bodyHash: [2], isExplicit: true, context: "d")
        else { throw Unexpected() }
    }

    @Test func `another owner's session of the same name is another stream`() throws {
        let registry = registry()
        let stream = try created(registry, key)
        let other = StreamKey(owner: "bob", session: "s")
        #expect(registry.find(other) == nil)
        #expect(try created(registry, other) !== stream)
        #expect(registry.find(key) === stream)
    }

    @Test func `a finished stream is replayed for its time to live`() throws {
        let registry = registry()
        let stream = try created(registry, key)
        stream.log.append([1])
        registry.finish(stream)
        #expect(!registry.detach(stream))
        clock.advance(599)
        #expect(registry.find(key) === stream)
        guard case .existing = registry.open(key, bodyHash: [1], isExplicit: true, context: "")
        else { throw Unexpected() }
        clock.advance(2)
        #expect(registry.find(key) == nil)
        #expect(registry.counts == (0, 0, 0))
        #expect(try created(registry, key) !== stream)
    }

    @Test func `a running stream never expires`() throws {
        let registry = registry()
        let stream = try created(registry, key)
        clock.advance(1e6)
        #expect(registry.sweep().isEmpty)
        #expect(registry.find(key) === stream)
    }

    @Test func `without a session of the client's the last reader's leaving cancels`() throws {
        let registry = registry()
        let stream = try created(registry, key, explicit: false)
        #expect(registry.attach(key) === stream)
        #expect(!registry.detach(stream))
        #expect(registry.detach(stream))
    }

    @Test func `with one the generation runs on until its time is over`() throws {
        let registry = registry { $0.cancelAfterDisconnect = 60 }
        let stream = try created(registry, key)
        #expect(!registry.detach(stream))
        clock.advance(59)
        #expect(registry.sweep().isEmpty)
        #expect(registry.attach(key) === stream)
        clock.advance(120)
        #expect(registry.sweep().isEmpty)
        #expect(!registry.detach(stream))
        clock.advance(61)
        #expect(registry.sweep().map(\.key) == [key])
        #expect(registry.sweep().isEmpty)
    }

    @Test func `a finished stream is not cancelled`() throws {
        let registry = registry { $0.cancelAfterDisconnect = 60 }
        let stream = try created(registry, key, explicit: false)
        registry.finish(stream)
        #expect(!registry.detach(stream))
        let other = try created(registry, StreamKey(owner: "ann", session: "t"))
        #expect(!registry.detach(other))
        registry.finish(other)
        clock.advance(61)
        #expect(registry.sweep().isEmpty)
    }

    @Test func `settings can detach every stream, and for ever`() throws {
        let registry = registry {
            $0.detach = .always
            $0.cancelAfterDisconnect = nil
        }
        let stream = try created(registry, key, explicit: false)
        #expect(!registry.detach(stream))
        clock.advance(1e7)
        #expect(registry.sweep().isEmpty)
    }

    @Test func `the ring is cut when the last reader has left`() throws {
        let registry = registry { $0.ring = 10 }
        let stream = try created(registry, key)
        stream.log.append(Array(0..<100))
        registry.finish(stream)
        #expect(stream.log.indexes == 0..<100)
        #expect(!registry.detach(stream))
        #expect(stream.log.indexes == 90..<100)
    }

    @Test func `beyond the events kept in all the oldest finished ones go, their names stay`()
        throws
    {
        let registry = registry { $0.maxKeptEvents = 25 }
        let keys = (0..<4).map { StreamKey(owner: "ann", session: "\($0)") }
        var streams: [Registry.Stream] = []
        for key in keys {
            let stream = try created(registry, key)
            stream.log.append(Array(0..<10))
            registry.finish(stream)
            #expect(!registry.detach(stream))
            streams.append(stream)
        }
        #expect(streams.map { $0.log.indexes.count } == [0, 0, 10, 10])
        #expect(registry.counts.keptEvents == 20)
        #expect(registry.counts.finished == 4)
        var reader = streams[0].log.reader()
        guard case .gone(first: 10) = reader.read(timeout: 0) else { throw Unexpected() }
        #expect(registry.find(keys[0]) === streams[0])
        #expect(streams[3].log.indexes == 0..<10)
        clock.advance(601)
        #expect(registry.sweep().isEmpty)
        #expect(registry.counts == (0, 0, 0))
    }

    @Test func `the number of finished streams is bounded`() throws {
        let registry = registry { $0.maxFinished = 50 }
        for number in 0..<5000 {
            let stream = try created(registry, StreamKey(owner: "ann", session: "\(number)"))
            stream.log.append([number])
            registry.finish(stream)
            _ = registry.detach(stream)
        }
        #expect(registry.counts == (0, 50, 50))
        #expect(registry.find(StreamKey(owner: "ann", session: "4999")) != nil)
        #expect(registry.find(StreamKey(owner: "ann", session: "4949")) == nil)
    }

    @Test func `a removed stream's name is free again, and late calls on it do no harm`() throws {
        let registry = registry()
        let stream = try created(registry, key)
        registry.remove(stream)
        #expect(stream.log.isFinished)
        let next = try created(registry, key)
        registry.finish(stream)
        #expect(!registry.detach(stream))
        #expect(registry.find(key) === next)
        #expect(!next.log.isFinished)
        #expect(registry.running.map(\.key) == [key])
    }

    @Test func `a thousand streams run and are read side by side`() throws {
        let registry = Registry()
        let read = Mutex(0)
        let streams = try (0..<1000).map { number in
            try created(registry, StreamKey(owner: "ann", session: "\(number)"), explicit: false)
        }
        let readers = (0..<20).map { group in
            Worker {
                for place in stride(from: group, to: 1000, by: 20) {
                    var reader = streams[place].log.reader()
                    var count = 0
                    while case .events(let events, _) = reader.read(timeout: 20) {
                        count += events.count
                    }
                    read.withLock { $0 += count }
                    _ = registry.detach(streams[place])
                }
            }
        }
        for step in 0..<20 { for stream in streams { stream.log.append([step]) } }
        for stream in streams { registry.finish(stream) }
        for reader in readers { reader.join() }
        #expect(read.withLock { $0 } == 20_000)
        #expect(registry.counts == (0, 1000, 20_000))
    }
}

private struct Unexpected: Error {}
