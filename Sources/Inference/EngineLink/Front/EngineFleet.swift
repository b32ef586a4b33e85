internal import Glibc
internal import Synchronization

/// The engines of this machine: a supervisor for each, and which model goes to which.
///
/// A model stays with an engine for as long as that has it or it is waited for there. Else it gets an
/// engine without a process, then the one that has been idle longest, then the least busy one.
/// Methods and their threads are those of `EngineSupervisor`.
public final class EngineFleet: Sendable {
    private let engines: [EngineSupervisor]
    private let maxWaiting: Int
    /// Two requests for a new model must not choose two engines.
    private let choosing = Mutex(())

    /// The engine's number in the top byte of a generation's name.
    private static let shift: UInt64 = 56

    /// One supervisor for each launcher, 1…64; `settings.maxWaiting` bounds all queues together.
    ///
    /// `ended` and `log`: as those of `EngineSupervisor`.
    public init(
        settings: SupervisorSettings = SupervisorSettings(),
        launchers: [any EngineLauncher],
        log: @escaping @Sendable (String) -> Void = { _ in },
        ended: @escaping @Sendable (EngineEnd) -> Void = { _ in }
    ) {
        maxWaiting = settings.maxWaiting
        engines = launchers.prefix(64).enumerated().map { place, launcher in
            let name = launchers.count > 1 ? "\(place + 1): " : ""
            return EngineSupervisor(
                settings: settings,
                launcher: launcher,
                log: { log(name + $0) },
                ended: ended
            )
        }
    }

    /// Submits a generation to the engine for its model.
    /// - Throws: `SupervisorError`; `deliver` is never called then.
    public func submit(
        _ request: GenerationRequest,
        model: LoadRequest,
        key: String,
        weight: Int = 1,
        keepAlive: Int? = nil,
        deliver: @escaping EngineSupervisor.Deliver
    ) throws(SupervisorError) -> GenerationID {
        try choosing.withLock { _ throws(SupervisorError) in
            let place = place(for: model)
            if engines.count > 1 {
                let all = summaries()
                guard all.reduce(0, { $0 + $1.waiting }) < maxWaiting else {
                    throw .queueFull(retryAfterSeconds: all[place].retrySeconds)
                }
            }
            let id = try engines[place].submit(
                request,
                model: model,
                key: key,
                weight: weight,
                keepAlive: keepAlive,
                deliver: deliver
            )
            return id | GenerationID(place) << Self.shift
        }
    }

    /// Ends a generation, or one choice of it.
    public func cancel(_ id: GenerationID, choice: Int? = nil) {
        let place = Int(id >> Self.shift)
        guard engines.indices.contains(place) else { return }
        engines[place].cancel(id & (1 << Self.shift - 1), choice: choice)
    }

    private func place(for model: LoadRequest) -> Int {
        guard engines.count > 1 else { return 0 }
        let claims = engines.map { $0.claim(to: model) }
        return claims.indices.min { claims[$0] < claims[$1] } ?? 0
    }

    /// What each engine does, in their order.
    public func summaries() -> [EngineStatus] { engines.map { $0.summary() } }

    /// All engines as one: the state of the most useful, the sums of what is counted.
    public func summary() -> EngineStatus {
        let all = summaries()
        let order: [EngineStatus.State] = [.serving, .loading, .draining, .coolDown, .absent]
        let best = all.min {
            (order.firstIndex(of: $0.state) ?? 0) < (order.firstIndex(of: $1.state) ?? 0)
        }
        guard var status = best, all.count > 1 else { return best ?? EngineStatus() }
        func sum(_ path: KeyPath<EngineStatus, Int>) -> Int {
            all.reduce(0) { $0 + $1[keyPath: path] }
        }
        status.running = sum(\.running)
        status.waiting = sum(\.waiting)
        status.freeSlots = sum(\.freeSlots)
        status.kvUsed = sum(\.kvUsed)
        status.kvTotal = sum(\.kvTotal)
        status.loads = sum(\.loads)
        status.loadFailures = sum(\.loadFailures)
        status.unloads = sum(\.unloads)
        status.crashes = sum(\.crashes)
        status.hangs = sum(\.hangs)
        status.steps = all.reduce(0) { $0 &+ $1.steps }
        status.residentBytes = all.compactMap(\.residentBytes).reduce(0, +)
        status.allocatedBytes = sum(\.allocatedBytes)
        status.reservedBytes = sum(\.reservedBytes)
        return status
    }

    /// Whether every supervisor's thread went round within so many seconds.
    public func isAlive(within seconds: Double) -> Bool {
        engines.allSatisfy { $0.isAlive(within: seconds) }
    }

    /// Loads a model before anyone asks for it.
    public func preload(_ model: LoadRequest) {
        choosing.withLock { _ in engines[place(for: model)].preload(model) }
    }

    /// Has all engines give cached memory back; blocks until they have reported, or so many seconds.
    ///
    /// Returns how many engines have done so; one that computes a long step, or has no model, has not.
    public func trim(timeout: Double) -> Int {
        let asked = engines.compactMap { engine in engine.trim().map { (engine, $0) } }
        let end = EngineSupervisor.seconds + timeout
        while true {
            let done = asked.count { engine, number in engine.hasReport(number) }
            if done == asked.count || EngineSupervisor.seconds >= end { return done }
            usleep(2000)
        }
    }

    /// Unloads all models; blocks.
    ///
    /// The answer is the first engine's that had one, but `busy` where any goes on serving.
    public func unload(timeout: Double = 30, force: Bool = false) -> UnloadOutcome {
        var running = 0
        var outcome = UnloadOutcome.nothingLoaded
        let end = EngineSupervisor.seconds + timeout
        for engine in engines {
            let left = max(0, end - EngineSupervisor.seconds)
            switch engine.unload(timeout: left, force: force) {
            case .busy(let count): running += count
            case .nothingLoaded: break
            case .unloaded(let model):
                if outcome == .nothingLoaded { outcome = .unloaded(model) }
            }
        }
        return running > 0 ? .busy(running: running) : outcome
    }

    /// Takes nothing new, lets what runs end, and lets go of the engines; blocks.
    public func stop(drainSeconds: Double, unload: Bool) {
        for engine in engines { engine.refuse() }
        let end = EngineSupervisor.seconds + drainSeconds
        for engine in engines {
            engine.stop(drainSeconds: max(0, end - EngineSupervisor.seconds), unload: unload)
        }
    }
}
