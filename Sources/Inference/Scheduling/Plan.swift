/// The work of one step.
public struct Plan: Sendable, Equatable {
    /// New tokens of one sequence.
    public struct Work: Sendable, Equatable {
        /// Whose.
        public let key: SequenceKey
        /// Where in the cache.
        public let slot: Int
        /// Tokens of the sequence that are in the cache already.
        public let start: Int
        /// The tokens to be computed.
        public let tokens: [Int32]
        /// Whether the last row's logits choose the next token.
        public let samples: Bool
    }

    /// Cache contents to be copied before the step.
    public struct Copy: Sendable, Equatable {
        /// Slot to read.
        public let from: Int
        /// Slot to fill.
        public let to: Int
        /// Tokens from the start.
        public let count: Int
    }

    /// Slots whose contents are no longer needed; to be cleared first.
    public internal(set) var released: [Int] = []
    /// Copies, after that.
    public internal(set) var copies: [Copy] = []
    /// Then the computation.
    public internal(set) var work: [Work] = []

    /// Nothing to do.
    public init() {}

    func contains(_ key: SequenceKey) -> Bool { work.contains { $0.key == key } }

    /// Takes a sequence's work out; returns its tokens.
    mutating func drop(_ key: SequenceKey) -> Int {
        guard let place = work.firstIndex(where: { $0.key == key }) else { return 0 }
        return work.remove(at: place).tokens.count
    }
}

/// What a step led to.
public struct Commit: Sendable, Equatable {
    /// Why a sequence is over.
    public enum End: Sendable, Equatable {
        /// A stop token.
        case stop
        /// The request's, the model's or the cache's limit.
        case length
    }

    /// One new token.
    public struct Outcome: Sendable, Equatable {
        /// Whose.
        public let key: SequenceKey
        /// The token.
        public let token: Int32
        /// Set with the last one.
        public let end: End?
    }

    /// The new tokens in the plan's order.
    public internal(set) var outcomes: [Outcome] = []
    /// Slots whose contents are no longer needed.
    public internal(set) var released: [Int] = []

    /// Nothing.
    public init() {}
}
