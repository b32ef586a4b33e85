internal import CLinux
internal import Glibc
internal import Synchronization

/// The supervisor's thread: one poll over wake-up, connection and process; feeds the machine and
/// performs what it decides.
///
/// `@unchecked Sendable`: made by the supervisor's initialiser, used by its thread alone afterwards.
final class SupervisorDriver: @unchecked Sendable {
    /// What there is of an engine.
    private enum Stage {
        /// Nothing.
        case none
        /// A process was asked for and does not listen yet.
        case connecting
        /// Frames flow.
        case connected(FrameSocket)
        /// The connection has ended; the process's end is awaited, by force after the deadline.
        case dying(deadline: UInt64)
    }

    /// Between two attempts to connect to a starting process.
    private static let connectInterval: UInt64 = 10_000_000
    /// Longest time between two rounds, so that `isAlive` tells a quiet thread from a stuck one.
    private static let round: UInt64 = 1_000_000_000
    /// Between the end of a connection and force, and between force and giving up.
    private static let deathGrace: UInt64 = 5_000_000_000

    private let supervisor: EngineSupervisor
    private let launcher: any EngineLauncher
    private let wakeup: Int32
    private var stage = Stage.none
    /// The process: a child, or what hello says.
    private var pid: Int32?
    private var isChild = false
    private var processDescriptor: Int32 = -1
    private var wasKilled = false
    /// When the process's memory was last read.
    private var measured: UInt64 = 0

    init(supervisor: EngineSupervisor) {
        self.supervisor = supervisor
        launcher = supervisor.launcher
        wakeup = supervisor.wakeup
    }

    // MARK: The loop

    /// An action with its receiver.
    private enum Task {
        case deliver(EngineSupervisor.Deliver, GenerationEvent)
        case answer(Mailbox<UnloadOutcome>, UnloadOutcome)
        case ended(EngineEnd)
        case engine(SupervisorMachine.Action)
    }

    func run() {
        while true {
            let now = tg_monotonic_ns()
            supervisor.lastRound.store(now, ordering: .relaxed)
            if SupervisorMachine.elapsed(measured, now) >= Self.round { measure() }
            let (tasks, deadline, isStopped) = collect()
            for task in tasks { perform(task) }
            if !tasks.isEmpty { continue }
            if isStopped { break }
            wait(until: deadline)
        }
        if case .connected(let socket) = stage { socket.close() }
        if processDescriptor >= 0 { close(processDescriptor) }
        supervisor.shared.withLock { shared in
            for waiter in shared.waiters.values { waiter.put([.nothingLoaded]) }
            shared.waiters = [:]
            shared.receivers = [:]
            shared.isEnded = true
        }
        supervisor.lastRound.store(.max, ordering: .relaxed)
    }

    private func collect() -> ([Task], UInt64?, Bool) {
        supervisor.shared.withLock { shared in
            let now = tg_monotonic_ns()
            shared.machine.tick(now: now)
            var tasks: [Task] = []
            for action in shared.machine.takeActions() {
                switch action {
                case .deliver(let id, let event):
                    guard let receiver = shared.receivers[id] else { continue }
                    tasks.append(.deliver(receiver, event))
                    switch event {
                    case .finished, .failed: shared.receivers[id] = nil
                    default: break
                    }
                case .forget(let id): shared.receivers[id] = nil
                case .ended(let end): tasks.append(.ended(end))
                case .unloadEnded(let ticket, let outcome):
                    guard let waiter = shared.waiters.removeValue(forKey: ticket) else { continue }
                    tasks.append(.answer(waiter, outcome))
                default: tasks.append(.engine(action))
                }
            }
            return (tasks, shared.machine.nextDeadline(now: now), shared.isStopped)
        }
    }

    private func perform(_ task: Task) {
        switch task {
        case .deliver(let receiver, let event): receiver(event)
        case .answer(let waiter, let outcome): waiter.put([outcome])
        case .ended(let end): supervisor.ended(end)
        case .engine(.send(let message)):
            if case .unload = message { measure() }
            if case .connected(let socket) = stage { message.send(on: socket) }
        case .engine(.log(let line)): supervisor.log(line)
        case .engine(.adopt): adopt()
        case .engine(.launch): launch()
        case .engine(.kill): kill()
        case .engine: break
        }
    }

    private func wait(until deadline: UInt64?) {
        var polled = [pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0)]
        polled.append(pollfd(fd: processDescriptor, events: Int16(POLLIN), revents: 0))
        polled.append(pollfd(fd: -1, events: Int16(POLLIN), revents: 0))
        let now = tg_monotonic_ns()
        var end = min(deadline ?? .max, now &+ Self.round)
        switch stage {
        case .none: break
        case .connecting: end = min(end, now &+ Self.connectInterval)
        case .dying(let deadline): end = min(end, deadline)
        case .connected(let socket):
            polled[2].fd = socket.descriptor
            if socket.isPending {
                polled[2].events |= Int16(POLLOUT)
                end = min(end, now &+ 500_000_000)
            }
        }
        let nanoseconds = SupervisorMachine.elapsed(now, end)
        let timeout = Int32(min((nanoseconds + 999_999) / 1_000_000, 1000))
        guard poll(&polled, 3, timeout) >= 0 else { return }
        if polled[0].revents != 0 {
            var count: UInt64 = 0
            _ = read(wakeup, &count, 8)
        }
        if polled[2].revents != 0, case .connected(let socket) = stage {
            if polled[2].revents & Int16(POLLOUT) != 0 { socket.flush() }
            if polled[2].revents & ~Int16(POLLOUT) != 0 { _ = receive(socket) }
        }
        if polled[1].revents != 0 { processEnded() }
        advance()
    }

    /// What is due by time alone.
    private func advance() {
        let now = tg_monotonic_ns()
        switch stage {
        case .none: break
        case .connecting:
            if let descriptor = launcher.connect() { connected(descriptor) }
        case .connected(let socket):
            guard socket.isStalled(now: now) else { return }
            supervisor.log("engine does not read, ending it")
            kill()
        case .dying(let deadline):
            guard now >= deadline else { return }
            if wasKilled {
                supervisor.log("engine's process cannot be ended")
                finish()
            } else {
                kill()
            }
        }
    }

    // MARK: The process

    private func adopt() {
        guard let descriptor = launcher.connect() else { return finish() }
        connected(descriptor)
    }

    private func launch() {
        if let descriptor = launcher.connect() { return connected(descriptor) }
        do throws(LoadFailure) {
            pid = try launcher.start()
            isChild = pid != nil
            if let pid { processDescriptor = tg_pidfd_open(pid) }
            stage = .connecting
        } catch {
            supervisor.shared.withLock {
                $0.machine.launchFailed(error, now: tg_monotonic_ns())
            }
        }
    }

    private func connected(_ descriptor: Int32) {
        var (peer, user, group): (pid_t, uid_t, gid_t) = (0, 0, 0)
        // The other side of a socket of systemd's is root's, who made it.
        guard tg_peer_credentials(descriptor, &peer, &user, &group) == 0,
            user == geteuid() || user == 0
        else {
            supervisor.log("engine's socket belongs to another user")
            close(descriptor)
            return finish()
        }
        stage = .connected(FrameSocket(descriptor: descriptor))
    }

    /// Reads what the process holds while it is there: of a dead one nobody can tell.
    private func measure() {
        measured = tg_monotonic_ns()
        guard let pid, let bytes = ProcessMemory.residentBytes(of: pid) else { return }
        supervisor.shared.withLock { $0.machine.measured(residentBytes: bytes) }
    }

    private func kill() {
        // The engine whose end was wanted may be gone already.
        if case .none = stage { return }
        measure()
        if case .connected(let socket) = stage { socket.close() }
        wasKilled = true
        if let pid { _ = Glibc.kill(pid, SIGKILL) }
        guard processDescriptor >= 0 else { return finish() }
        stage = .dying(deadline: tg_monotonic_ns() &+ Self.deathGrace)
    }

    /// The process has ended: what it wrote before is read first.
    private func processEnded() {
        if case .connected(let socket) = stage {
            var reads = 0
            while reads < 1024, receive(socket) == .open { reads += 1 }
            if case .connected(let socket) = stage { socket.close() }
        }
        finish()
    }

    /// Nothing is left of the engine.
    private func finish() {
        if let pid, isChild {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) == pid {
                let code = tg_wait_status(status)
                supervisor.log(
                    code >= 256
                        ? "engine \(pid) ended by signal \(code - 256)"
                        : "engine \(pid) ended with \(code)"
                )
            }
        }
        if processDescriptor >= 0 { close(processDescriptor) }
        (stage, pid, isChild, processDescriptor, wasKilled) = (.none, nil, false, -1, false)
        supervisor.shared.withLock { $0.machine.gone(now: tg_monotonic_ns()) }
    }

    // MARK: Frames

    private func receive(_ socket: FrameSocket) -> FrameSocket.Reading {
        do throws(ProtocolError) {
            let reading = try socket.receive { frame, passed throws(ProtocolError) in
                // No message of an engine carries a descriptor.
                if let passed { close(passed) }
                try self.handle(try EngineFrame(frame))
            }
            if reading == .ended { connectionEnded(socket) }
            return reading
        } catch {
            supervisor.log("engine sent something malformed: \(error.reason)")
            kill()
            return .ended
        }
    }

    private func connectionEnded(_ socket: FrameSocket) {
        socket.close()
        guard processDescriptor >= 0 else { return finish() }
        stage = .dying(deadline: tg_monotonic_ns() &+ Self.deathGrace)
    }

    private func handle(_ frame: EngineFrame) throws(ProtocolError) {
        if case .hello(let hello) = frame { learn(hello.pid) }
        try supervisor.shared.withLock { shared throws(ProtocolError) in
            let now = tg_monotonic_ns()
            switch frame {
            case .hello(let hello): shared.machine.hello(hello, now: now)
            case .message(let message): try shared.machine.message(message, now: now)
            case .pong(_, let progress): shared.machine.pong(progress: progress, now: now)
            }
        }
    }

    /// An engine that is not our child says its process in hello.
    private func learn(_ named: Int32) {
        guard pid == nil, named > 1, named != getpid() else { return }
        pid = named
        processDescriptor = tg_pidfd_open(named)
    }
}
