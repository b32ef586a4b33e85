internal import CLinux
internal import Glibc
internal import Synchronization

/// The engine's side of the wall: accepts one front at a time, turns its frames into `FrontCommand`s
/// and sends `EngineMessage`s.
///
/// 1. The engine's thread alone calls `drain` and, in normal work, `send`; both may be called from
///    any thread.
/// 2. A thread of the endpoint reads, answers pings, and writes what the kernel did not take at once.
/// 3. Only a process of the same user may connect. Malformed frames end the connection.
/// 4. While no front is connected messages are dropped, but for the state that `hello` tells the
///    next front. Tokens of a lost front's generations never reach the next one: until the engine has
///    drained `frontGone` its steps are dropped.
public final class EngineEndpoint: Sendable {
    /// Where fronts connect.
    public enum Listener: Sendable {
        /// A unix socket that is made here, mode 0600.
        case path(String)
        /// A listening socket from systemd.
        case inherited(Int32)
    }

    /// Why an endpoint could not be made.
    public struct ListenError: Error, Sendable, CustomStringConvertible {
        /// One line for the log.
        public let description: String
    }

    /// Deviations that tests of the front need.
    package struct Quirks: Sendable {
        /// Version in `hello`.
        package var version = WireProtocol.version
        /// Whether pings are answered.
        package var answersPings = true
        /// The normal endpoint.
        package init() {}
    }

    struct Shared {
        var connection: FrameSocket?
        var load: LoadRequest?
        var model: LoadedModel?
        /// Kept for the next front.
        var linger: EngineHello.Linger?
        /// Fronts whose `frontGone` the engine has not drained yet.
        var undrained = 0
        var isStopped = false
    }

    let build: String
    let work: @Sendable () -> UInt64
    let quirks: Quirks
    let shared = Mutex(Shared())
    let inbox = Mailbox<FrontCommand>()
    let wakeup: Int32
    let progress = Atomic<UInt64>(0)

    /// Listens and starts the endpoint's thread.
    /// - Parameters:
    ///   - listener: where fronts connect.
    ///   - build: names the engine's build in `hello`.
    ///   - startGrace: seconds to wait for the first front before `orphaned`.
    ///   - work: a counter that moves within a long step, added to the answer to a ping; called on the
    ///     endpoint's thread.
    /// - Throws: `ListenError`.
    public convenience init(
        listener: Listener,
        build: String,
        startGrace: Int = 60,
        work: @escaping @Sendable () -> UInt64 = { 0 }
    ) throws(ListenError) {
        let quirks = Quirks()
        try self.init(listener, build: build, startGrace: startGrace, work: work, quirks: quirks)
    }

    package init(
        _ listener: Listener,
        build: String,
        startGrace: Int,
        work: @escaping @Sendable () -> UInt64 = { 0 },
        quirks: Quirks
    ) throws(ListenError) {
        self.build = build
        self.work = work
        self.quirks = quirks
        wakeup = tg_eventfd()
        let socket: Int32
        switch listener {
        case .path(let path): socket = tg_unix_listen(path, 16, 0o600)
        case .inherited(let descriptor): socket = descriptor
        }
        guard socket >= 0, wakeup >= 0 else {
            throw ListenError(description: "cannot listen: \(String(cString: strerror(errno)))")
        }
        _ = tg_set_nonblocking(socket, 1)
        let loop = EndpointLoop(endpoint: self, listener: socket, startGrace: startGrace)
        guard LinkThread.start("engine-link", { loop.run() }) else {
            throw ListenError(description: "cannot start a thread")
        }
    }

    /// Takes the commands that have arrived, in order; when blocking, waits for at least one.
    public func drain(blocking: Bool) -> [FrontCommand] {
        let commands = inbox.takeAll(blocking: blocking)
        let gone = commands.count { $0 == .frontGone }
        if gone > 0 { shared.withLock { $0.undrained -= gone } }
        return commands
    }

    /// Sends a message; never blocks.
    ///
    /// A front that does not read for 10 s is disconnected.
    public func send(_ message: EngineMessage) {
        noteProgress()
        let (connection, mayPass) = shared.withLock { shared in
            switch message {
            case .loaded(let model): shared.model = model
            case .loadFailed: (shared.load, shared.model, shared.linger) = (nil, nil, nil)
            default: break
            }
            return (shared.connection, shared.undrained == 0)
        }
        switch message {
        case .step, .failed: guard mayPass else { return }
        default: break
        }
        if let connection, !connection.send(EngineFrame.message(message).frame) { wake() }
    }

    /// Moves the counter that pings are answered with; call it within long steps and loads.
    public func noteProgress() { progress.wrappingAdd(1, ordering: .relaxed) }

    /// Ends the connection once everything sent has left the process, or after `timeout` seconds.
    public func finish(timeout: Double = 2) {
        let end = tg_monotonic_ns() + UInt64(max(0, min(timeout, 60)) * 1e9)
        while tg_monotonic_ns() < end, shared.withLock({ $0.connection?.isPending ?? false }) {
            usleep(2000)
        }
        shared.withLock { $0.isStopped = true }
        wake()
    }

    /// Sends bytes that are no message.
    package func sendRaw(_ bytes: [UInt8]) {
        _ = shared.withLock { $0.connection }?.send(bytes: bytes)
    }

    func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, 8)
    }
}
