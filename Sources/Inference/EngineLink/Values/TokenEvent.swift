/// One token of one choice.
public struct TokenEvent: Sendable, Equatable {
    /// The choice's index.
    public var choice: Int
    /// The token's id.
    public var token: Int32
    /// Log-softmax of the raw logits at the token, where logprobs were asked for.
    public var logprob: Float?
    /// The most probable tokens, best first; empty unless asked for.
    public var top: [TokenLogprob]
    /// Set on the choice's last token.
    public var finish: EngineFinish?

    /// Creates an event.
    public init(
        choice: Int,
        token: Int32,
        logprob: Float? = nil,
        top: [TokenLogprob] = [],
        finish: EngineFinish? = nil
    ) {
        self.choice = choice
        self.token = token
        self.logprob = logprob
        self.top = top
        self.finish = finish
    }
}

/// A token and its log-probability.
public struct TokenLogprob: Sendable, Equatable {
    /// The token's id.
    public var token: Int32
    /// Natural logarithm of its probability.
    public var logprob: Float

    /// Creates a pair.
    public init(token: Int32, logprob: Float) {
        self.token = token
        self.logprob = logprob
    }
}

/// Why the engine ended a choice.
public enum EngineFinish: Sendable, Equatable {
    /// A stop token was drawn; it is the event's token.
    case stop
    /// `maxTokens` or the context's end was reached.
    case length
}

/// A token and the generation that it belongs to.
public struct GenerationToken: Sendable, Equatable {
    /// The generation.
    public var id: GenerationID
    /// Its token.
    public var event: TokenEvent

    /// Creates a pair.
    public init(id: GenerationID, event: TokenEvent) {
        self.id = id
        self.event = event
    }
}

/// What one engine step brought, for all generations: the hot frame.
public struct EngineStep: Sendable, Equatable {
    /// Counts the steps of an engine process.
    public var number: UInt64
    /// CLOCK_MONOTONIC at the step's end, in nanoseconds.
    public var monotonicNs: UInt64
    /// The tokens, in order within each choice.
    public var tokens: [GenerationToken]

    /// Creates a step.
    public init(number: UInt64, monotonicNs: UInt64, tokens: [GenerationToken]) {
        self.number = number
        self.monotonicNs = monotonicNs
        self.tokens = tokens
    }
}
