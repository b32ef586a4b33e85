internal import CFCGI
internal import CLinux
internal import Glibc
internal import Synchronization

/// Accepts connections and hands each to a worker once its first byte is there.
///
/// libfcgi's own accept loop waits up to two seconds in `accept` for a slow peer and lets kept
/// connections starve new ones; so one epoll loop accepts, and each connection is injected into libfcgi.
/// 1. The reactor never reads or writes a connection; it only waits.
/// 2. A connection is in one hand at a time: fresh (the reactor's) or active (a worker's). While active,
///    the reactor watches only for its end.
/// 3. Worker threads get no signals; SIGPIPE is ignored.
public final class FastCGIListener: Sendable {
    private enum Role: UInt64 { case listener = 1, fresh, active, wake, tick }

    private struct State {
        var fresh: [Int32: UInt64] = [:]
        var watches: [Int32: DisconnectWatch] = [:]
        /// Connections on their way from `fresh` to a worker.
        var handing = 0
        var stopping = false
        var listeners: [Int32] = []
        /// Users that were refused.
        var refused: Set<uid_t> = []
    }

    private let settings: FastCGISettings
    private let handler: @Sendable (FastCGIExchange) -> Void
    private let epoll: Int32
    private let wakeup: Int32
    private let workers: Workers
    private let bodies: BodyBudget
    private let refusals: Workers
    private let state = Mutex(State())
    private let own: uid_t = geteuid()

    /// Binds or takes over the sockets; connections wait in the kernel until `run`.
    /// - Throws: `FastCGIError`.
    public init(
        settings: FastCGISettings,
        handler: @escaping @Sendable (FastCGIExchange) -> Void
    ) throws(FastCGIError) {
        self.settings = settings
        self.handler = handler
        bodies = BodyBudget(limit: settings.maxBodyBytesInHand)
        workers = Workers(limit: settings.maxExchanges, stackBytes: settings.stackBytes)
        refusals = Workers(limit: 16, stackBytes: 256 << 10)
        Self.library
        epoll = tg_epoll_create()
        wakeup = tg_eventfd()
        guard epoll >= 0, wakeup >= 0 else {
            throw FastCGIError(description: "epoll: \(Self.errorText)")
        }
        _ = tg_epoll_add(epoll, wakeup, TG_EPOLLIN, Self.tag(.wake, wakeup))
        for source in settings.sources {
            let socket = try Self.open(source, settings)
            state.withLock { $0.listeners.append(socket) }
            guard tg_epoll_add(epoll, socket, TG_EPOLLIN, Self.tag(.listener, socket)) == 0 else {
                throw FastCGIError(description: "cannot watch the socket: \(Self.errorText)")
            }
        }
    }

    deinit {
        for socket in state.withLock({ $0.listeners }) { close(socket) }
        close(epoll)
        close(wakeup)
    }

    /// libfcgi, started once: it installs signal handlers of its own, and those signals belong to the
    /// owner; of two starts at once, one would take libfcgi's handlers for the owner's.
    private static let library: Void = {
        let theirs = [SIGTERM, SIGUSR1]
        let before = theirs.map { number in
            var action = sigaction()
            sigaction(number, nil, &action)
            return action
        }
        FCGX_Init()
        for (number, action) in zip(theirs, before) {
            var action = action
            sigaction(number, &action, nil)
        }
        signal(SIGPIPE, SIG_IGN)
    }()

    private static var errorText: String { String(cString: strerror(errno)) }

    private static func open(_ source: FastCGISettings.Source, _ settings: FastCGISettings)
        throws(FastCGIError) -> Int32
    {
        switch source {
        case .path(let path, let mode, let group):
            let socket = tg_unix_listen(path, settings.backlog, mode_t(mode))
            guard socket >= 0 else {
                throw FastCGIError(description: "cannot bind \(path): \(errorText)")
            }
            if let group { _ = chown(path, uid_t.max, group) }
            _ = tg_set_nonblocking(socket, 1)
            return socket
        case .inherited(let socket):
            var type: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            guard getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &type, &length) == 0, type != 0
            else {
                throw FastCGIError(description: "descriptor \(socket) is no listening socket")
            }
            _ = tg_set_cloexec(socket, 1)
            _ = tg_set_nonblocking(socket, 1)
            return socket
        }
    }

    private static func tag(_ role: Role, _ fd: Int32) -> UInt64 {
        role.rawValue << 32 | UInt64(UInt32(bitPattern: fd))
    }

    /// Requests in hand now.
    public var exchanges: Int { workers.running }

    /// Waits for connections until `stop`; `tick` is called about every `tickSeconds` on this thread.
    public func run(tickSeconds: Double = 1, tick: () -> Void = {}) {
        var events = [tg_epoll_event](repeating: tg_epoll_event(), count: 128)
        var nextTick = tg_monotonic_ns()
        let interval = Self.nanoseconds(max(0.01, tickSeconds))
        while true {
            let now = tg_monotonic_ns()
            if now >= nextTick {
                nextTick = now + interval
                tick()
                closeSilent(now: now)
            }
            let milliseconds = Int32(min(1000, (nextTick - min(nextTick, now)) / 1_000_000 + 1))
            let count = tg_epoll_wait(epoll, &events, 128, milliseconds)
            if state.withLock({ $0.stopping }) { return closeSilent(now: .max) }
            guard count > 0 else { continue }
            for event in events.prefix(Int(count)) {
                let fd = Int32(truncatingIfNeeded: event.data & 0xFFFF_FFFF)
                switch Role(rawValue: event.data >> 32) {
                case .listener: accept(from: fd)
                case .fresh: begin(fd)
                case .active: ended(fd)
                case .wake: drainWake()
                case .tick, nil: break
                }
            }
        }
    }

    /// Closes the listeners and waits for running requests, at most `seconds`.
    ///
    /// New connections wait in the kernel where the socket was inherited; one that was already accepted
    /// is still served. Returns how many requests are running yet, for the owner to cancel. Call it
    /// while `run` runs, and `finish` after it.
    public func stop(drainSeconds seconds: Double) -> Int {
        state.withLock { state in
            for socket in state.listeners {
                _ = tg_epoll_remove(epoll, socket)
                close(socket)
            }
            state.listeners = []
        }
        let end = tg_monotonic_ns() + Self.nanoseconds(seconds)
        while case let now = tg_monotonic_ns(), isBusy(now: now), now < end { usleep(2000) }
        return workers.running
    }

    /// A span of time from outside, which may be anything.
    private static func nanoseconds(_ seconds: Double) -> UInt64 {
        UInt64(max(0, min(1e6, seconds)) * 1e9)
    }

    /// Whether a request is in hand or a connection so new that its request must be on its way.
    private func isBusy(now: UInt64) -> Bool {
        let arriving = state.withLock { state in
            state.handing > 0 || state.fresh.values.contains { now - min(now, $0) < 100_000_000 }
        }
        return arriving || workers.running > 0 || refusals.running > 0
    }

    /// Makes `run` return.
    public func finish() {
        state.withLock { $0.stopping = true }
        wake()
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, 8)
    }

    private func drainWake() {
        var count: UInt64 = 0
        _ = read(wakeup, &count, 8)
    }

    // MARK: Fresh connections

    private func accept(from listener: Int32) {
        for _ in 0..<256 {
            // In one step with `stop`, which must neither close the socket under us nor miss a connection
            // between here and `fresh`.
            var stranger: uid_t?
            let failure = state.withLock { state -> Int32 in
                guard state.listeners.contains(listener) else { return EAGAIN }
                let fd = tg_accept(listener, 0)
                guard fd >= 0 else { return errno }
                let user = user(of: fd)
                guard let user, isAllowed(user) else {
                    close(fd)
                    // Once for each: whoever knocks for ever must not fill the log.
                    if let user, state.refused.count < 64, state.refused.insert(user).inserted {
                        stranger = user
                    }
                    return 0
                }
                if !register(fd, in: &state) { close(fd) }
                return 0
            }
            if let stranger { settings.refused(stranger) }
            switch failure {
            case 0, ECONNABORTED, EINTR: continue
            // No descriptor left: a short pause, or the loop would spin.
            case EMFILE, ENFILE, ENOMEM, ENOBUFS: usleep(10_000)
            default: break
            }
            return
        }
    }

    private func user(of fd: Int32) -> uid_t? {
        var (pid, uid, gid): (pid_t, uid_t, gid_t) = (0, 0, 0)
        return tg_peer_credentials(fd, &pid, &uid, &gid) == 0 ? uid : nil
    }

    private func isAllowed(_ user: uid_t) -> Bool {
        user == 0 || user == own || settings.allowedUsers.contains(user)
    }

    /// Waits for the first byte of a new or kept connection; false where that cannot be, as when `run`
    /// is over and nobody would wait.
    private func register(_ fd: Int32, in state: inout State) -> Bool {
        guard !state.stopping else { return false }
        let tag = Self.tag(.fresh, fd)
        guard tg_epoll_add(epoll, fd, TG_EPOLLIN | TG_EPOLLONESHOT, tag) == 0 else { return false }
        state.fresh[fd] = tg_monotonic_ns()
        return true
    }

    private func closeSilent(now: UInt64) {
        let limit = Self.nanoseconds(settings.freshTimeout)
        let silent = state.withLock { state in
            let silent = state.fresh.filter { now - min(now, $0.value) > limit }.map(\.key)
            for fd in silent { state.fresh[fd] = nil }
            return silent
        }
        for fd in silent {
            _ = tg_epoll_remove(epoll, fd)
            close(fd)
        }
    }

    private func begin(_ fd: Int32) {
        let isOurs = state.withLock { state in
            guard state.fresh.removeValue(forKey: fd) != nil else { return false }
            state.handing += 1
            return true
        }
        guard isOurs else { return }
        defer { state.withLock { $0.handing -= 1 } }
        _ = tg_epoll_remove(epoll, fd)
        // A peer that stalls in the middle of a record must not hold a worker for ever.
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if workers.run({ [self] in serve(fd, withBody: true, handler) }) { return }
        if refusals.run({ [self] in serve(fd, withBody: false, settings.overloaded) }) { return }
        close(fd)
    }

    /// The peer of an active connection left.
    ///
    /// By now a worker may have closed the descriptor and `accept` may have given its number to a fresh
    /// connection. That one has no watch yet, since only this thread begins connections; and its
    /// registration with epoll is left alone, since a one-shot event needs no removal.
    private func ended(_ fd: Int32) {
        state.withLock { $0.watches[fd] }?.fire()
    }

    // MARK: A worker's hands

    private func serve(
        _ fd: Int32,
        withBody: Bool,
        _ handler: (FastCGIExchange) -> Void
    ) {
        let request = UnsafeMutablePointer<FCGX_Request>.allocate(capacity: 1)
        defer { request.deallocate() }
        FCGX_InitRequest(request, -1, 0)
        // The descriptor is injected as a kept connection, so that libfcgi reads from it and, with a
        // listener of -1, never accepts one of its own.
        request.pointee.ipcFd = fd
        request.pointee.keepConnection = 1
        // On failure libfcgi has closed the connection and freed what it held.
        guard FCGX_Accept_r(request) >= 0 else { return }
        let watch = DisconnectWatch()
        var mayKeep = withBody
        let parsed = FastCGIRequest(request, settings: settings, budget: bodies, withBody: withBody)
        if let parsed {
            watchEnd(of: fd, watch)
            let response = ResponseStream(request)
            let exchange = FastCGIExchange(
                request: parsed,
                response: response,
                watch: watch,
                budget: bodies
            )
            handler(exchange)
            exchange.dropBody()
            if !response.hasHead, !response.isClosed {
                response.writeHead(status: 500, headers: [("Content-Length", "0")])
            }
            watch.end()
            unwatch(fd)
        } else {
            mayKeep = false
            ResponseStream(request).writeHead(status: 431, headers: [("Content-Length", "0")])
        }
        // What is left of this request in the connection would be taken for the next one. The end of the
        // answer goes out after it only, so a refusal does not wait for a body that nobody asked for.
        if request.pointee.keepConnection != 0, !(mayKeep && FastCGIRequest.drain(request)) {
            request.pointee.keepConnection = 0
        }
        FCGX_Finish_r(request)
        if request.pointee.ipcFd >= 0 {
            let kept = request.pointee.ipcFd
            request.pointee.ipcFd = -1
            if !state.withLock({ register(kept, in: &$0) }) { close(kept) }
        }
        FCGX_Free(request, 0)
    }

    private func watchEnd(of fd: Int32, _ watch: DisconnectWatch) {
        state.withLock { $0.watches[fd] = watch }
        _ = tg_epoll_add(epoll, fd, TG_EPOLLRDHUP | TG_EPOLLONESHOT, Self.tag(.active, fd))
    }

    private func unwatch(_ fd: Int32) {
        state.withLock { $0.watches[fd] = nil }
        _ = tg_epoll_remove(epoll, fd)
    }
}
