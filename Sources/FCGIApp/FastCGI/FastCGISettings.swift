/// Where connections come from and how much is taken in hand.
public struct FastCGISettings: Sendable {
    /// Where connections come from.
    public enum Source: Sendable, Equatable {
        /// A socket that we bind; `group` gets it, nil = our own group.
        case path(String, mode: UInt32, group: UInt32?)
        /// A listening socket of whoever started us. It is closed, never shut down, at the end.
        case inherited(Int32)
    }

    /// One or several sockets.
    public var sources: [Source]
    /// Requests in hand at once; beyond them `overloaded` answers.
    public var maxExchanges = 2048
    /// Bytes of a body.
    public var maxBodyBytes = 64 << 20
    /// Bytes of all bodies that handlers hold at once.
    public var maxBodyBytesInHand = 1 << 30
    /// Bytes of all parameters.
    public var maxParameterBytes = 64 << 10
    /// Seconds that a connection may take to send its first byte.
    public var freshTimeout = 5.0
    /// Connections that the kernel keeps for us.
    public var backlog: Int32 = 2048
    /// Bytes of a worker's stack.
    public var stackBytes = 1 << 20
    /// User ids whose processes may connect, besides root and our own.
    public var allowedUsers: Set<UInt32> = []
    /// Hears of the first connection that each other user's process made in vain.
    ///
    /// Called on the thread of `run`; must not block.
    public var refused: @Sendable (_ user: UInt32) -> Void = { _ in }
    /// The answer where there is no worker left.
    ///
    /// Called on one of a few workers of its own; the request comes without its body.
    public var overloaded: @Sendable (FastCGIExchange) -> Void = { exchange in
        exchange.response.writeHead(
            status: 503,
            headers: [("Retry-After", "1"), ("Content-Length", "0")]
        )
    }

    /// The defaults with these sources.
    public init(sources: [Source]) { self.sources = sources }
}

/// A socket that cannot be used, with what was tried.
public struct FastCGIError: Error, Sendable, CustomStringConvertible {
    /// One line for people.
    public let description: String
}
