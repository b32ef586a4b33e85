public import EngineLink

/// What a generation says to its readers, in order.
public enum OutputEvent: Sendable, Equatable {
    /// A choice has its first token; comes before all else of the choice.
    case opened(choice: Int)
    /// More text of a choice.
    ///
    /// The texts of a choice, joined, are its answer. `tokens` is empty unless logprobs were asked for;
    /// then it has the tokens whose text is complete with this piece.
    case text(choice: Int, text: String, tokens: [TokenReport])
    /// A choice is over; `tokens` counts what was drawn for it, up to and with its end.
    case finished(choice: Int, reason: ChoiceEnd, tokens: Int)
    /// The whole generation failed; nothing comes after this.
    case failed(GenerationFailure)
}

/// Why a choice ended.
public enum ChoiceEnd: Sendable, Equatable {
    /// A stop token or a stop string.
    case stop
    /// The token limit or the context's end.
    case length
}

/// A token of an answer with its log-probability.
public struct TokenReport: Sendable, Equatable {
    /// The token that was drawn.
    public var token: Candidate
    /// The most probable tokens, best first.
    public var top: [Candidate]
    /// Unicode scalars of the choice's text before the character that the token is part of.
    public var textOffset: Int

    /// A token that was or could have been drawn.
    public struct Candidate: Sendable, Equatable {
        /// Its id.
        public var id: Int32
        /// Its bytes, which need not be whole UTF-8.
        public var bytes: [UInt8]
        /// Natural logarithm of its probability.
        public var logprob: Float

        /// Creates a candidate.
        public init(id: Int32, bytes: [UInt8], logprob: Float) {
            self.id = id
            self.bytes = bytes
            self.logprob = logprob
        }
    }

    /// Creates a report.
    public init(token: Candidate, top: [Candidate], textOffset: Int) {
        self.token = token
        self.top = top
        self.textOffset = textOffset
    }
}
