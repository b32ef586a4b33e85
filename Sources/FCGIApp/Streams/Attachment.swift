/// Who listens to a generation, and what follows when nobody does: pure rules without clock or lock.
public struct Attachment: Sendable, Equatable {
    /// Readers at the moment.
    public private(set) var readers = 0
    /// When the generation is to be cancelled, in the caller's seconds, unless someone comes back.
    public private(set) var deadline: Double?

    /// Nobody listens yet, and nothing follows from it.
    public init() {}

    /// A reader came.
    public mutating func attach() {
        readers += 1
        deadline = nil
    }

    /// A reader left; true where the generation is to be cancelled at once.
    ///
    /// Without a session id of the client's nobody can come back, so a detached generation ends; with
    /// one it runs on for the settings' time.
    public mutating func detach(now: Double, isExplicit: Bool, settings: StreamSettings) -> Bool {
        readers = max(0, readers - 1)
        guard readers == 0 else { return false }
        guard isExplicit || settings.detach == .always else { return true }
        deadline = settings.cancelAfterDisconnect.map { now + $0 }
        return false
    }

    /// Whether the time to come back has passed.
    public func isDue(now: Double) -> Bool {
        deadline.map { now >= $0 } ?? false
    }
}

/// How long streams stay and what happens when their readers leave.
public struct StreamSettings: Sendable, Equatable {
    /// Which generations outlive their readers.
    public enum Detach: Sendable {
        /// Those whose client named a session.
        case explicit
        /// All.
        case always
    }

    /// Which generations outlive their readers; default those with a session id of the client's.
    public var detach = Detach.explicit
    /// Seconds that a generation runs on without readers; nil until it is done.
    public var cancelAfterDisconnect: Double? = 3600
    /// Events kept of a finished generation.
    public var ring = 2048
    /// Seconds that a finished generation can be replayed.
    public var timeToLive: Double = 600
    /// Finished generations that are remembered.
    public var maxFinished = 20_000
    /// Events of finished generations that are kept in all; beyond, the oldest generation's go.
    public var maxKeptEvents = 400_000

    /// The defaults.
    public init() {}
}
