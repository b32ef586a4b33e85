internal import CLinux
internal import Glibc
internal import Synchronization

/// The endpoint's thread: one poll over the listener, the connection and the wake-up.
///
/// `@unchecked Sendable`: made by the endpoint's initialiser, used by its thread alone afterwards.
final class EndpointLoop: @unchecked Sendable {
    private let endpoint: EngineEndpoint
    private let listener: Int32
    private var connection: FrameSocket?
    private var saidHello = false
    private var helloDeadline: UInt64 = 0
    /// Pixels whose submission has not come yet; all of one generation.
    private var early: (id: GenerationID, pixels: [SharedPixels]) = (0, [])
    private var orphanDeadline: UInt64
    private var orphanGrace = 30

    init(endpoint: EngineEndpoint, listener: Int32, startGrace: Int) {
        self.endpoint = endpoint
        self.listener = listener
        orphanDeadline = tg_monotonic_ns() + Self.nanoseconds(startGrace)
    }

    private static func nanoseconds(_ seconds: Int) -> UInt64 {
        UInt64(max(0, min(seconds, 366 * 86_400))) * 1_000_000_000
    }

    func run() {
        var isOrphaned = false
        while !endpoint.shared.withLock({ $0.isStopped }) {
            // A second front waits in the backlog until the first one has gone.
            var polled = [
                pollfd(fd: endpoint.wakeup, events: Int16(POLLIN), revents: 0),
                pollfd(fd: connection == nil ? listener : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: connection?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            if connection?.isPending ?? false { polled[2].events |= Int16(POLLOUT) }
            guard poll(&polled, 3, timeout(isOrphaned)) >= 0 || errno == EINTR else { return }
            if polled[0].revents != 0 {
                var count: UInt64 = 0
                _ = read(endpoint.wakeup, &count, 8)
            }
            if polled[1].revents != 0 { accept() }
            if let connection, polled[2].revents != 0 {
                if polled[2].revents & Int16(POLLOUT) != 0 { connection.flush() }
                receive(connection)
            }
            let now = tg_monotonic_ns()
            if let connection, connection.isStalled(now: now) || isMute(now) { drop(connection) }
            if connection == nil, now >= orphanDeadline, !isOrphaned {
                isOrphaned = true
                endpoint.inbox.put([.orphaned])
            }
        }
        // The engine ends: the front sees the end of the stream.
        if let connection { endpoint.shared.withLock { $0.connection = nil }; connection.close() }
        _ = close(listener)
    }

    /// Whether who connected does not say hello: the next in the backlog may be the front.
    private func isMute(_ now: UInt64) -> Bool { !saidHello && now >= helloDeadline }

    private func timeout(_ isOrphaned: Bool) -> Int32 {
        if let connection { return connection.isPending || !saidHello ? 500 : -1 }
        if isOrphaned { return -1 }
        let now = tg_monotonic_ns()
        guard orphanDeadline > now else { return 0 }
        return Int32(min((orphanDeadline - now) / 1_000_000 + 1, 3_600_000))
    }

    private func accept() {
        let descriptor = tg_accept(listener, 1)
        guard descriptor >= 0 else { return }
        var (pid, user, group): (pid_t, uid_t, gid_t) = (0, 0, 0)
        guard tg_peer_credentials(descriptor, &pid, &user, &group) == 0, user == geteuid() else {
            _ = close(descriptor)
            return
        }
        let socket = FrameSocket(descriptor: descriptor)
        connection = socket
        saidHello = false
        early = (0, [])
        helloDeadline = tg_monotonic_ns() + Self.nanoseconds(5)
        // Under one lock: a `loaded` is either in this hello or follows it on the connection.
        endpoint.shared.withLock { shared in
            let hello = EngineHello(
                version: endpoint.quirks.version,
                build: endpoint.build,
                pid: getpid(),
                load: shared.load,
                model: shared.model,
                linger: shared.linger
            )
            socket.send(EngineFrame.hello(hello).frame)
            shared.connection = socket
        }
    }

    private func drop(_ socket: FrameSocket) {
        endpoint.shared.withLock {
            $0.connection = nil
            $0.undrained += 1
        }
        socket.close()
        connection = nil
        if saidHello { orphanDeadline = tg_monotonic_ns() + Self.nanoseconds(orphanGrace) }
        endpoint.inbox.put([.frontGone])
    }

    private func receive(_ socket: FrameSocket) {
        var commands: [FrontCommand] = []
        var isOpen = true
        do throws(ProtocolError) {
            isOpen =
                try socket.receive { frame, passed throws(ProtocolError) in
                    // Taken over at once, whatever the frame is.
                    var owned = passed
                    defer { if let owned { _ = close(owned) } }
                    let message = try FrontMessage(frame, pixels: self.pixels(for: frame.id))
                    if case .pixels(let id, let bytes) = message {
                        guard let passed else { throw ProtocolError("pixels without a file") }
                        owned = nil
                        try self.keep(passed, bytes, for: id)
                    } else if let command = try self.command(message, on: socket) {
                        commands.append(command)
                    }
                } != .ended
        } catch { isOpen = false }
        if !commands.isEmpty { endpoint.inbox.put(commands) }
        if !isOpen { drop(socket) }
    }

    private func pixels(for id: GenerationID) -> [SharedPixels] {
        early.id == id ? early.pixels : []
    }

    /// The mapping is kept and the descriptor is not: a process may have few of them.
    private func keep(_ descriptor: Int32, _ bytes: Int, for id: GenerationID)
        throws(ProtocolError)
    {
        let pixels = try SharedPixels(
            descriptor: descriptor,
            byteCount: bytes,
            keepsDescriptor: false
        )
        guard saidHello, early.pixels.isEmpty || early.id == id,
            early.pixels.count < WireRange.media
        else { throw ProtocolError("pixels without their submission") }
        early = (id, early.pixels + [pixels])
    }

    private func command(_ message: FrontMessage, on socket: FrameSocket) throws(ProtocolError)
        -> FrontCommand?
    {
        guard saidHello else {
            guard case .hello(WireProtocol.version, _) = message else {
                throw ProtocolError("expected hello of this version")
            }
            saidHello = true
            return nil
        }
        switch message {
        case .hello: throw ProtocolError("hello comes once")
        case .load(let request):
            let isNew = endpoint.shared.withLock { shared in
                guard shared.load == nil else { return false }
                shared.load = request
                return true
            }
            guard isNew else { throw ProtocolError("load comes once") }
            orphanGrace = request.orphanGrace
            return .load(request)
        case .pixels: return nil
        case .submit(let id, let request):
            early = (0, [])
            guard endpoint.shared.withLock({ $0.model != nil }) else {
                throw ProtocolError("submit before loaded")
            }
            return .submit(id, request)
        case .cancel(let id, let choice): return .cancel(id, choice: choice)
        case .unload: return .unload
        case .stats: return .stats
        case .trim: return .trim
        case .linger(let seconds):
            endpoint.shared.withLock { $0.linger = EngineHello.Linger(seconds) }
            return nil
        case .ping(let nonce):
            guard endpoint.quirks.answersPings else { return nil }
            let progress = endpoint.progress.load(ordering: .relaxed) &+ endpoint.work()
            socket.send(EngineFrame.pong(nonce: nonce, progress: progress).frame)
            return nil
        }
    }
}
