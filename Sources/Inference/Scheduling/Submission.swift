/// What a scheduler may spend.
public struct SchedulerLimits: Sendable, Equatable {
    /// Sequences that may hold tokens at once.
    public var slots: Int
    /// Longest sequence in tokens, prompt and output together.
    public var contextLength: Int
    /// Tokens that all slots together may hold.
    public var kvTokens: Int
    /// New rows of one step, decodes and prefill together.
    public var stepTokens: Int

    /// Whether a slot can be cut back to, or copied up to, any earlier position.
    ///
    /// A recurrent state cannot: then each choice computes its prompt itself.
    public var sharesPrefixes = true

    /// Limits; a step has room for one token of every slot and one of a prefill at least.
    public init(slots: Int, contextLength: Int, kvTokens: Int, stepTokens: Int) {
        self.slots = max(1, slots)
        self.contextLength = max(2, contextLength)
        self.kvTokens = max(2, kvTokens)
        self.stepTokens = max(stepTokens, self.slots + 1)
    }

    /// Tokens that one sequence can reach.
    public var longest: Int { min(contextLength, kvTokens) }
}

/// Names a sequence: one choice of one request.
public struct SequenceID: Hashable, Sendable {
    /// The request.
    public var request: UInt64
    /// The choice's index.
    public var choice: Int

    /// A choice of a request.
    public init(request: UInt64, choice: Int) {
        self.request = request
        self.choice = choice
    }
}

/// When a sequence ends.
public struct Ending: Sendable, Equatable {
    /// Tokens that it may have after the prompt, at least 1.
    public var maxTokens: Int
    /// Stop tokens do not end it before it has this many.
    public var minTokens: Int
    /// Tokens that end it.
    public var stopTokens: [Int32]

    /// An ending; without stop tokens only the length ends a sequence.
    public init(maxTokens: Int, minTokens: Int = 0, stopTokens: [Int32] = []) {
        self.maxTokens = maxTokens
        self.minTokens = minTokens
        self.stopTokens = stopTokens
    }
}

/// A prompt and the choices that continue it.
public struct Submission: Sendable, Equatable {
    /// Where a choice starts.
    public struct Choice: Sendable, Equatable {
        /// Its index.
        public var index: Int
        /// Tokens that exist already: context, and part of `maxTokens`.
        public var generated: [Int32]

        /// A choice after `generated`.
        public init(index: Int, generated: [Int32] = []) {
            self.index = index
            self.generated = generated
        }
    }

    /// The prompt.
    public var prompt: [Int32]
    /// The choices.
    public var choices: [Choice]
    /// When each of them ends.
    public var ending: Ending

    /// A submission from its parts.
    public init(prompt: [Int32], choices: [Choice] = [Choice(index: 0)], ending: Ending) {
        self.prompt = prompt
        self.choices = choices
        self.ending = ending
    }
}

/// Why a submission is refused: waiting would not help.
public enum AdmissionError: Error, Sendable, Equatable {
    /// There is no room for one more token after these.
    case tooLong(tokens: Int, limit: Int)
    /// No prompt, no choice, a choice twice, or nothing left to generate.
    case malformed
    /// The request runs already.
    case duplicate
}
