internal import CLinux
internal import Glibc
internal import Synchronization

/// The front's side of the wall: keeps an engine while it is needed, holds the one waiting queue, and
/// carries generations over an engine's death.
///
/// 1. Every method may be called from any thread and from a `deliver` closure, but for `unload` and
///    `stop`, which block.
/// 2. `deliver` runs on the supervisor's thread with no lock held, in order for each generation. It
///    must not block: it holds up all generations.
/// 3. After `cancel` an event that was on its way may still arrive, no later one.
public final class EngineSupervisor: Sendable {
    /// Receives the events of one generation.
    public typealias Deliver = @Sendable (GenerationEvent) -> Void

    struct Shared {
        var machine: SupervisorMachine
        var receivers: [GenerationID: Deliver] = [:]
        var waiters: [UInt64: Mailbox<UnloadOutcome>] = [:]
        var lastTicket: UInt64 = 0
        var isStopped = false
        /// The thread has ended: nothing is delivered any more.
        var isEnded = false
    }

    let shared: Mutex<Shared>
    let wakeup: Int32
    /// When the thread last went round; 0: never, `.max`: it has ended as it was told to.
    let lastRound = Atomic<UInt64>(0)
    let launcher: any EngineLauncher
    let log: @Sendable (String) -> Void
    let ended: @Sendable (EngineEnd) -> Void

    /// Starts the supervisor's thread, and adopts an engine that an earlier front left, if told to.
    /// - Parameters:
    ///   - settings: bounds and times.
    ///   - launcher: how to get at an engine.
    ///   - log: takes one line at a time; lines hold no prompt and no output, but may hold paths.
    ///   - ended: hears of each engine that had a model and is gone, before who asked for that has an
    ///     answer; on the supervisor's thread, which it must not hold up.
    public init(
        settings: SupervisorSettings = SupervisorSettings(),
        launcher: any EngineLauncher,
        log: @escaping @Sendable (String) -> Void = { _ in },
        ended: @escaping @Sendable (EngineEnd) -> Void = { _ in }
    ) {
        self.launcher = launcher
        self.ended = ended
        self.log = log
        wakeup = tg_eventfd()
        var machine = SupervisorMachine(settings: settings)
        if settings.adoptsOrphans, !launcher.connectingStarts {
            machine.adopt(now: tg_monotonic_ns())
        }
        shared = Mutex(Shared(machine: machine))
        lastRound.store(tg_monotonic_ns(), ordering: .relaxed)
        let driver = SupervisorDriver(supervisor: self)
        if !LinkThread.start("supervisor", { driver.run() }) {
            log("cannot start the supervisor's thread")
            lastRound.store(0, ordering: .relaxed)
            shared.withLock {
                $0.machine.stop()
                $0.isEnded = true
            }
        }
    }

    deinit { close(wakeup) }

    /// Submits a generation; its events come to `deliver`, the first perhaps before this returns.
    /// - Parameters:
    ///   - request: what to generate, with `generated` empty for a new one.
    ///   - model: which engine it needs; started on demand.
    ///   - key: generations of different keys take turns in the queue.
    ///   - weight: the key's share of those turns against other keys', 1…1000.
    ///   - keepAlive: seconds that the idle engine stays afterwards; 0: unload, negative: for ever,
    ///     nil: the model's idle timeout.
    ///   - deliver: takes the events.
    /// - Returns: the name for `cancel`.
    /// - Throws: `SupervisorError`; `deliver` is never called then.
    public func submit(
        _ request: GenerationRequest,
        model: LoadRequest,
        key: String,
        weight: Int = 1,
        keepAlive: Int? = nil,
        deliver: @escaping Deliver
    ) throws(SupervisorError) -> GenerationID {
        do { try request.checkRanges() } catch { throw .invalid(error.reason) }
        let id = try shared.withLock { shared throws(SupervisorError) in
            let id = try shared.machine.submit(
                request,
                model: model,
                key: key,
                weight: weight,
                keepAlive: keepAlive,
                now: tg_monotonic_ns()
            )
            shared.receivers[id] = deliver
            return id
        }
        wake()
        return id
    }

    /// Ends a generation, or one choice of it, in queue, prefill and decode alike.
    ///
    /// Nil means the whole generation, which then hears nothing more; when the last open choice is
    /// cancelled, `finished` follows. Unknown ids are ignored.
    public func cancel(_ id: GenerationID, choice: Int? = nil) {
        shared.withLock { $0.machine.cancel(id, choice: choice, now: tg_monotonic_ns()) }
        wake()
    }

    /// The engine and the queue as they are now, with a row for each generation.
    public func status() -> EngineStatus {
        shared.withLock { $0.machine.status(now: tg_monotonic_ns()) }
    }

    /// The same without `requests`: cheap at any number of generations.
    public func summary() -> EngineStatus {
        shared.withLock { $0.machine.summary(now: tg_monotonic_ns()) }
    }

    /// Whether the supervisor's thread went round within so many seconds; it does at least each second
    /// unless something holds it up, such as a `deliver` that blocks.
    ///
    /// True after `stop`. Takes no lock.
    public func isAlive(within seconds: Double) -> Bool {
        let last = lastRound.load(ordering: .relaxed)
        guard last > 0 else { return false }
        return SupervisorMachine.elapsed(last, tg_monotonic_ns())
            <= SupervisorMachine.nanoseconds(seconds)
    }

    /// How well this engine suits a model.
    func claim(to model: LoadRequest) -> EngineClaim {
        shared.withLock { $0.machine.claim(to: model) }
    }

    /// Takes nothing new from now on.
    func refuse() { shared.withLock { $0.machine.stop() } }

    /// Seconds of the monotonic clock.
    static var seconds: Double { Double(tg_monotonic_ns()) / 1e9 }

    /// Loads a model before anyone asks for it.
    public func preload(_ model: LoadRequest) {
        shared.withLock { $0.machine.preload(model, now: tg_monotonic_ns()) }
        wake()
    }

    /// Asks the engine to give cached memory back; nil where there is none with a model.
    ///
    /// The engine does so between two steps; `hasReport` tells when that is over.
    public func trim() -> UInt64? {
        defer { wake() }
        return shared.withLock { $0.machine.trim() }
    }

    /// Whether the report with this number has come, or never will.
    public func hasReport(_ number: UInt64) -> Bool {
        shared.withLock { $0.machine.reportsDone >= number }
    }

    /// Unloads the model and waits until the engine's process has ended.
    ///
    /// Running generations get `timeout` seconds to end; if they do not, the model stays. By force
    /// they, and those that wait for the model, end at once with `GenerationFailure.unloaded`.
    public func unload(timeout: Double = 30, force: Bool = false) -> UnloadOutcome {
        let answer = Mailbox<UnloadOutcome>()
        let isRunning = shared.withLock { shared in
            guard !shared.isStopped else { return false }
            shared.lastTicket += 1
            shared.waiters[shared.lastTicket] = answer
            shared.machine.unload(
                ticket: shared.lastTicket,
                timeout: timeout,
                force: force,
                now: tg_monotonic_ns()
            )
            return true
        }
        guard isRunning else { return .nothingLoaded }
        wake()
        return answer.takeAll(blocking: true).first ?? .nothingLoaded
    }

    /// Takes nothing new, waits until all generations have ended, fails those that outlast the drain,
    /// and lets go of the engine.
    /// - Parameters:
    ///   - drainSeconds: how long running and waiting generations may go on.
    ///   - unload: whether the engine ends too; else it keeps its model for the next front.
    public func stop(drainSeconds: Double, unload: Bool) {
        refuse()
        let end = tg_monotonic_ns() &+ SupervisorMachine.nanoseconds(drainSeconds)
        while tg_monotonic_ns() < end, !shared.withLock({ $0.machine.isEmpty }) { usleep(5000) }
        shared.withLock { $0.machine.failEverything(now: tg_monotonic_ns()) }
        wake()
        if unload { _ = self.unload(timeout: 0, force: true) }
        shared.withLock { $0.isStopped = true }
        wake()
        while !shared.withLock({ $0.isEnded }) { usleep(1000) }
    }

    func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, 8)
    }
}
