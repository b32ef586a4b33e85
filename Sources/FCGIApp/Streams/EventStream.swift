/// Names a stream: another owner's use of the same session id is another stream.
public struct StreamKey: Sendable, Hashable {
    /// Who owns the API key; outlives its rotation.
    public var owner: String
    /// The client's session id, or the answer's own id.
    public var session: String

    /// Creates a key.
    public init(owner: String, session: String) {
        self.owner = owner
        self.session = session
    }
}

/// A generation's log under its name.
public final class EventStream<Element: Sendable, Context: Sendable>: Sendable {
    /// Its name.
    public let key: StreamKey
    /// Tells the request's body from others; any hash without collisions.
    public let bodyHash: [UInt8]
    /// Whether the client chose the session id and so may come back.
    public let isExplicit: Bool
    /// Its events.
    public let log = EventLog<Element>()
    /// What the server keeps with it.
    public let context: Context

    init(key: StreamKey, bodyHash: [UInt8], isExplicit: Bool, context: Context) {
        self.key = key
        self.bodyHash = bodyHash
        self.isExplicit = isExplicit
        self.context = context
    }
}
