/// When a choice ends.
public struct StopConditions: Sendable, Equatable {
    /// Tokens a choice may have in all, those of an earlier engine's life included; at least 1.
    public var maxTokens: Int
    /// Stop tokens cannot be drawn before a choice has this many tokens; 0 is off.
    public var minTokens: Int
    /// Tokens that end a choice (end-of-sequence ids); the stop token itself is reported.
    public var stopTokens: [Int32]
    /// Whether stop tokens are drawn and reported like any other token.
    public var ignoreEOS: Bool

    /// Creates conditions.
    public init(
        maxTokens: Int,
        minTokens: Int = 0,
        stopTokens: [Int32] = [],
        ignoreEOS: Bool = false
    ) {
        self.maxTokens = maxTokens
        self.minTokens = minTokens
        self.stopTokens = stopTokens
        self.ignoreEOS = ignoreEOS
    }
}
