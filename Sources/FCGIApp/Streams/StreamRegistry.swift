import Synchronization

/// All streams by name, running and lately finished.
///
/// 1. A name leads to one stream; the same name with another body is refused while that one is known.
/// 2. A stream is removed `timeToLive` after it finished; never while it runs.
/// 3. Events beyond the ring go once a stream is finished and has no reader.
/// `sweep` is to be called about once a second. Any thread.
public final class StreamRegistry<Element: Sendable, Context: Sendable>: Sendable {
    /// The streams of this registry.
    public typealias Stream = EventStream<Element, Context>

    /// What opening a stream led to.
    public enum Opening: Sendable {
        /// A new stream: generate, and read with the reader that is already counted.
        case created(Stream)
        /// The same request again: only read, with the reader that is already counted.
        case existing(Stream)
        /// The name is taken by another request.
        case conflict
    }

    private struct Entry {
        let stream: Stream
        var attachment = Attachment()
        /// When it finished; nil while it runs.
        var finishedAt: Double?
        /// Events that count against `maxKeptEvents`.
        var kept = 0
    }

    private struct State {
        var entries: [StreamKey: Entry] = [:]
        /// Finished streams, oldest first, from `head` on.
        var finished: [Stream] = []
        var head = 0
        /// Finished streams whose events were dropped to stay within `maxKeptEvents` end here.
        var emptied = 0
        var kept = 0
    }

    /// The rules.
    public let settings: StreamSettings
    private let clock: @Sendable () -> Double
    private let state = Mutex(State())

    /// An empty registry; `clock` gives seconds and never goes back.
    public init(
        settings: StreamSettings = StreamSettings(),
        clock: @escaping @Sendable () -> Double = MonotonicTime.now
    ) {
        self.settings = settings
        self.clock = clock
    }

    /// Finds or creates a stream and counts a reader, who must `detach`.
    public func open(
        _ key: StreamKey,
        bodyHash: [UInt8],
        isExplicit: Bool,
        context: Context
    ) -> Opening {
        let now = clock()
        let fresh = Stream(
            key: key,
            bodyHash: bodyHash,
            isExplicit: isExplicit,
            context: context
        )
        return state.withLock { state in
            expire(&state, now)
            if let known = state.entries[key]?.stream {
                guard known.bodyHash == bodyHash else { return .conflict }
                state.entries[key]?.attachment.attach()
                return .existing(known)
            }
            var entry = Entry(stream: fresh)
            entry.attachment.attach()
            state.entries[key] = entry
            return .created(fresh)
        }
    }

    /// The stream of a name, if there is one.
    public func find(_ key: StreamKey) -> Stream? {
        let now = clock()
        return state.withLock { state in
            expire(&state, now)
            return state.entries[key]?.stream
        }
    }

    /// Finds a stream and counts a reader, who must `detach`.
    public func attach(_ key: StreamKey) -> Stream? {
        let now = clock()
        return state.withLock { state in
            expire(&state, now)
            state.entries[key]?.attachment.attach()
            return state.entries[key]?.stream
        }
    }

    /// A reader has left; true where the caller must cancel the generation now.
    public func detach(_ stream: Stream) -> Bool {
        let now = clock()
        return state.withLock { state in
            guard var entry = state.entries[stream.key], entry.stream === stream else {
                return false
            }
            let cancel = entry.attachment.detach(
                now: now,
                isExplicit: stream.isExplicit,
                settings: settings
            )
            state.entries[stream.key] = entry
            guard entry.finishedAt != nil else { return cancel }
            if entry.attachment.readers == 0 { stream.log.trim(keeping: entry.kept) }
            return false
        }
    }

    /// The generation is over: ends the log and starts the time to live.
    public func finish(_ stream: Stream) {
        stream.log.finish()
        let now = clock()
        state.withLock { state in
            guard let entry = state.entries[stream.key], entry.stream === stream,
                entry.finishedAt == nil
            else { return }
            if entry.attachment.readers == 0 { stream.log.trim(keeping: settings.ring) }
            let kept = min(settings.ring, stream.log.indexes.count)
            state.entries[stream.key]?.finishedAt = now
            state.entries[stream.key]?.kept = kept
            state.kept += kept
            state.finished.append(stream)
            expire(&state, now)
        }
    }

    /// Forgets a stream whose generation never began, so that the same request may be made again.
    public func remove(_ stream: Stream) {
        stream.log.finish()
        state.withLock { state in
            guard let entry = state.entries[stream.key], entry.stream === stream else { return }
            state.kept -= entry.kept
            state.entries[stream.key] = nil
        }
    }

    /// Drops what is past its time and returns the running streams that nobody came back to.
    ///
    /// The caller is to cancel them; each is returned once.
    public func sweep() -> [Stream] {
        let now = clock()
        return state.withLock { state in
            expire(&state, now)
            var due: [Stream] = []
            for (key, entry) in state.entries
            where entry.finishedAt == nil && entry.attachment.isDue(now: now) {
                state.entries[key]?.attachment = Attachment()
                due.append(entry.stream)
            }
            return due
        }
    }

    /// How many streams are running, finished, and how many finished events are kept.
    public var counts: (running: Int, finished: Int, keptEvents: Int) {
        state.withLock { state in
            let finished = state.finished.count - state.head
            return (max(0, state.entries.count - finished), finished, state.kept)
        }
    }

    /// The running streams, in no order.
    public var running: [Stream] {
        state.withLock { state in
            state.entries.values.filter { $0.finishedAt == nil }.map(\.stream)
        }
    }

    private func expire(_ state: inout State, _ now: Double) {
        while state.head < state.finished.count {
            let oldest = state.finished[state.head]
            if let entry = state.entries[oldest.key], entry.stream === oldest {
                let age = now - (entry.finishedAt ?? now)
                let crowded = state.finished.count - state.head > settings.maxFinished
                guard age >= settings.timeToLive || crowded else { break }
                state.kept -= entry.kept
                state.entries[oldest.key] = nil
            }
            state.head += 1
        }
        empty(&state)
        if state.head > 1024, state.head * 2 > state.finished.count {
            state.finished.removeFirst(state.head)
            state.emptied = max(0, state.emptied - state.head)
            state.head = 0
        }
    }

    /// Drops the events of the oldest finished streams until the rest fits; their names stay, so that
    /// who asks for them hears that they are gone.
    private func empty(_ state: inout State) {
        state.emptied = max(state.emptied, state.head)
        while state.kept > settings.maxKeptEvents, state.emptied < state.finished.count {
            let stream = state.finished[state.emptied]
            state.emptied += 1
            guard let entry = state.entries[stream.key], entry.stream === stream else { continue }
            if entry.attachment.readers == 0 { stream.log.trim(keeping: 0) }
            state.kept -= entry.kept
            state.entries[stream.key]?.kept = 0
        }
    }
}
