/// How the next token of one sequence is chosen.
///
/// The defaults are greedy and change nothing.
public struct SamplerRow {
    /// 0 is greedy; else the divisor of the logits.
    public var temperature: Float = 0
    /// Keep this many best tokens; 0 keeps all.
    public var topK: Int = 0
    /// Keep the smallest set whose probability reaches this; 1 keeps all.
    public var topP: Float = 1
    /// Drop tokens less probable than this share of the best one's; 0 keeps all.
    public var minP: Float = 0
    /// Subtracted once from each token that was generated.
    public var presencePenalty: Float = 0
    /// Subtracted as often as the token was generated.
    public var frequencyPenalty: Float = 0
    /// Divides positive and multiplies negative logits of tokens in prompt or output; 1 is off.
    public var repetitionPenalty: Float = 1
    /// Added to the logits of these tokens; ids outside the vocabulary are ignored.
    public var logitBias: [Int32: Float] = [:]
    /// Tokens that must not be chosen now (stop tokens before the minimum length).
    public var suppressed: [Int32] = []
    /// Allowed tokens, bit `id % 64` of word `id / 64`; nil allows all.
    public var mask: [UInt64]?
    /// Key of the draw.
    public var seed: UInt64 = 0
    /// Which choice of the request: part of the draw's counter.
    public var choice: UInt32 = 0
    /// Index of the token in the output, from 0: part of the draw's counter.
    public var position: UInt32 = 0
    /// nil: no logprobs wanted; 0…20: that many of the best tokens beside the chosen one.
    public var topLogprobs: Int?
    /// The tokens so far; needed only where a penalty is on.
    public var history: TokenHistory?

    /// Greedy.
    public init() {}
}

/// Counts of one sequence's tokens, kept up to date token by token.
public final class TokenHistory {
    /// Each token that occurred, once.
    private(set) var tokens: [Int32] = []
    /// How often `tokens[i]` was generated; 0 where it is in the prompt only.
    private(set) var counts: [Int32] = []
    private var index: [Int32: Int] = [:]

    /// The history of a prompt and of what was already generated after it.
    public init(prompt: [Int32], generated: [Int32] = []) {
        for token in prompt { note(token, generated: 0) }
        for token in generated { note(token, generated: 1) }
    }

    /// Counts one generated token.
    public func append(_ token: Int32) { note(token, generated: 1) }

    private func note(_ token: Int32, generated: Int32) {
        if let place = index[token] {
            counts[place] &+= generated
        } else {
            index[token] = tokens.count
            tokens.append(token)
            counts.append(generated)
        }
    }
}

/// A chosen token.
public struct Sampled: Equatable, Sendable {
    /// The token.
    public var token: Int32
    /// Its log-probability under the raw logits; nil where none was asked for.
    public var logprob: Float?
    /// The best tokens under the raw logits, best first.
    public var top: [Candidate]

    /// A token and its log-probability under the raw logits.
    public struct Candidate: Equatable, Sendable {
        /// The token.
        public var token: Int32
        /// Its log-probability.
        public var logprob: Float
    }
}

/// Why a row has no next token.
public enum SamplerError: Error, Equatable, Sendable {
    /// The logits contain NaN or no finite value.
    case notANumber
    /// Mask, suppression and bias leave no token.
    case nothingAllowed
}
