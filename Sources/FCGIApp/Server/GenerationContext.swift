internal import OpenAI
internal import Synchronization

/// What the server keeps with a stream: who owns it, how it stands, how to end it.
final class GenerationContext: Sendable {
    /// How far the generation is.
    enum Phase: Sendable, Equatable {
        /// Waits for other requests.
        case queued
        /// Waits for the model; 0…1 of its bytes are loaded.
        case loading(Double)
        /// The engine works on it.
        case running
    }

    private struct State {
        var canceller: (@Sendable () -> Void)?
        var phase = Phase.queued
        var loadingSince = 0.0
        var times = Times()
        var fingerprint: String?
    }

    /// Moments in seconds of the monotonic clock; 0 = not yet.
    struct Times: Sendable {
        var submitted = 0.0
        var loadBegan = 0.0
        var loadEnded = 0.0
        var started = 0.0
        var firstToken = 0.0
    }

    /// All of the head but the fingerprint.
    private let base: ResponseHead
    private let makeWriter: @Sendable (ResponseHead) -> ItemWriter
    /// The key it is counted on.
    let keyID: String
    /// The request that began it, for the logs.
    let requestID: String
    private let state = Mutex(State())

    init(
        head: ResponseHead,
        keyID: String,
        requestID: String,
        writer: @escaping @Sendable (ResponseHead) -> ItemWriter
    ) {
        base = head
        makeWriter = writer
        self.keyID = keyID
        self.requestID = requestID
        state.withLock { $0.times.submitted = monotonicSeconds() }
    }

    /// Writes its items, the same for each reader; to be asked for once there is an item: before, nobody
    /// knows who answers.
    var writer: ItemWriter {
        var head = base
        head.systemFingerprint = state.withLock { $0.fingerprint }
        return makeWriter(head)
    }

    /// Notes who answers.
    ///
    /// The first word counts: an engine after a crash has the same revision, or the generation fails.
    func note(fingerprint: String) {
        state.withLock { $0.fingerprint = $0.fingerprint ?? fingerprint }
    }

    var phase: Phase { state.withLock { $0.phase } }
    var times: Times { state.withLock { $0.times } }
    /// When the load began that goes on now.
    var loadingSince: Double { state.withLock { $0.loadingSince } }

    /// Sets what ends the generation; nil once it is over.
    func setCanceller(_ action: (@Sendable () -> Void)?) {
        state.withLock { $0.canceller = action }
    }

    /// Ends the generation; does nothing once it is over.
    func cancel() { state.withLock { $0.canceller }?() }

    /// Takes over a phase; true where a reader should hear of it (a tenth more is loaded, or it changed).
    func enter(_ phase: Phase) -> Bool {
        state.withLock { state in
            let now = monotonicSeconds()
            let before = state.phase
            // Of several prompts one may run while another waits.
            if phase == .queued, before == .running { return false }
            state.phase = phase
            switch phase {
            case .queued: return false
            case .loading(let fraction):
                if state.times.loadBegan == 0 { state.times.loadBegan = now }
                guard case .loading(let last) = before else {
                    state.loadingSince = now
                    return true
                }
                return Int(fraction * 20) != Int(last * 20)
            case .running:
                if state.times.started == 0 { state.times.started = now }
                if state.times.loadBegan > 0, state.times.loadEnded == 0 {
                    state.times.loadEnded = now
                }
                return false
            }
        }
    }

    /// Notes that tokens came.
    func noteToken() {
        state.withLock { state in
            state.phase = .running
            if state.times.firstToken == 0 { state.times.firstToken = monotonicSeconds() }
        }
    }

    /// What `timings` reports, at the end.
    func timings(cached: Int = 0) -> Timings {
        let times = self.times
        let now = monotonicSeconds()
        let started = times.started > 0 ? times.started : now
        let first = times.firstToken > 0 ? times.firstToken : now
        let load = times.loadBegan > 0 ? max(0, times.loadEnded - times.loadBegan) : 0
        return Timings(
            queue: max(0, started - times.submitted - load),
            load: load,
            prefill: max(0, first - started),
            decode: max(0, now - first),
            cachedTokens: cached
        )
    }
}
