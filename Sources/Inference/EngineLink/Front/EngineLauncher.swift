internal import CLinux
internal import Glibc

/// How a supervisor gets at an engine's process.
///
/// Called by the supervisor's thread only.
public protocol EngineLauncher: Sendable {
    /// Whether `connect` starts an engine where none is alive: then nobody connects without work.
    var connectingStarts: Bool { get }
    /// Connects to an engine that listens already; nil where none does. Never waits.
    func connect() -> Int32?
    /// Starts a process; the supervisor goes on to call `connect` until it listens.
    ///
    /// Returns the process where it is a child of ours, nil where somebody else starts it.
    /// - Throws: `LoadFailure` where it cannot be started.
    func start() throws(LoadFailure) -> Int32?
}

extension EngineLauncher {
    /// False: connecting finds an engine or none.
    public var connectingStarts: Bool { false }
}

/// Connects to a socket of systemd's, which starts the engine when somebody connects.
public struct SocketLauncher: EngineLauncher {
    private let path: String

    /// True: systemd listens, whether an engine is alive or not.
    public var connectingStarts: Bool { true }

    /// Uses the socket at this path.
    public init(path: String) { self.path = path }

    /// Connects; systemd holds the connection until the engine accepts it.
    public func connect() -> Int32? {
        let descriptor = tg_unix_connect(path)
        return descriptor >= 0 ? descriptor : nil
    }

    /// Nothing to do: connecting starts the engine.
    public func start() throws(LoadFailure) -> Int32? { nil }
}
