/// What becomes of a submitted generation, in order.
///
/// `finished` or `failed` comes exactly once and is the last, but for a cancelled generation, which
/// hears nothing more.
public enum GenerationEvent: Sendable, Equatable {
    /// It waits; `position` counts from 1. Sent when it is queued and when the place changes much.
    case queued(position: Int)
    /// Its model loads; 0…1.
    case loading(fraction: Double)
    /// It was handed to an engine with this model; comes again after each wait, as when an engine died.
    case started(LoadedModel)
    /// Tokens of one engine step: one call per step and generation.
    case tokens([TokenEvent])
    /// Its engine died; it goes on with the next one, and no token is lost or repeated.
    case restarted
    /// Every choice has ended.
    case finished
    /// It ended with an error.
    case failed(GenerationFailure)
}

/// Why a generation ended early, in terms of the API's error catalogue.
public struct GenerationFailure: Error, Sendable, Equatable {
    /// Catalogue code, such as `engine_failed`.
    public var code: String
    /// A sentence for the client: no path, no prompt.
    public var message: String
    /// Seconds after which the same request may succeed, for `Retry-After`; nil: nobody knows.
    ///
    /// The supervisor sets it; it is not on the wire.
    public var retryAfterSeconds: Int?

    /// Creates a failure.
    public init(code: String, message: String, retryAfterSeconds: Int? = nil) {
        self.code = code
        self.message = message
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// The engine died under this generation once too often.
    public static let engineFailed = GenerationFailure(
        code: "engine_failed",
        message: "The inference engine failed while it ran this request."
    )
    /// An operator unloaded the model by force.
    public static let unloaded = GenerationFailure(
        code: "request_cancelled",
        message: "The model was unloaded by the operator."
    )
    /// The server stops.
    public static let stopping = GenerationFailure(
        code: "draining",
        message: "The server is shutting down."
    )
    /// The model's files changed between two lives of the engine.
    public static let modelChanged = GenerationFailure(
        code: "engine_failed",
        message: "The model changed while this request ran."
    )

    /// The model did not load.
    public static func loadFailed(_ failure: LoadFailure) -> GenerationFailure {
        GenerationFailure(code: "model_load_failed", message: failure.sentence)
    }
}

/// Why a generation was not taken.
public enum SupervisorError: Error, Sendable, Equatable {
    /// The waiting queue is full.
    case queueFull(retryAfterSeconds: Int)
    /// The server stops and takes nothing new.
    case draining
    /// The model failed to load a moment ago; the sentence is `LoadFailure`'s for clients.
    case coolDown(retryAfterSeconds: Int, sentence: String)
    /// The request is outside the wire's ranges; the text names the field.
    case invalid(String)
}
