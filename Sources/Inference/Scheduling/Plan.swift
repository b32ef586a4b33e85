/// What the next step computes.
///
/// Perform in this order: `released`, `copies`, `items`.
public struct Plan: Sendable, Equatable {
    /// New rows of one sequence.
    public struct Item: Sendable, Equatable {
        /// The sequence.
        public let sequence: SequenceID
        /// Where its state lies.
        public let slot: Int
        /// Its new tokens, at least one; where the item follows a draw, 0 in place of that.
        public let tokens: [Int32]
        /// Whose token it continues with: that of this output of the plan before; nil: of none.
        public let follows: Int?
        /// Position of the first: what the state holds.
        public let start: Int
        /// Whether the logits behind the last token are wanted: the row draws its next token.
        public let wantsLogits: Bool
        /// Index of that next token in the output, from 0.
        public let outputIndex: Int
        /// Tokens that it must not be.
        public let suppressed: [Int32]
        let serial: UInt64
    }

    /// A slot that keeps the first tokens of its content only.
    public struct Cut: Sendable, Equatable {
        /// The slot.
        public let slot: Int
        /// Tokens that stay; 0 where nobody has the slot any more.
        public let kept: Int
    }

    /// A prefix that another slot holds already.
    public struct Copy: Sendable, Equatable {
        /// The slot to read.
        public let from: Int
        /// The slot to fill.
        public let to: Int
        /// Tokens.
        public let count: Int
    }

    /// Content that is no longer needed.
    public internal(set) var released: [Cut] = []
    /// Shared prefixes.
    public internal(set) var copies: [Copy] = []
    /// Decodes, then prefill chunks.
    public internal(set) var items: [Item] = []

    /// The items that draw a token, in the order that `commit` expects.
    public var outputs: [Item] { items.filter(\.wantsLogits) }
    /// New rows.
    public var rowCount: Int { items.reduce(0) { $0 + $1.tokens.count } }
}

/// A new token of a sequence.
public struct Outcome: Sendable, Equatable {
    /// Why a sequence ended.
    public enum Finish: Sendable, Equatable {
        /// The token is a stop token.
        case stop
        /// The most tokens, or the context's end.
        case length
    }

    /// The sequence.
    public let sequence: SequenceID
    /// Which of the tokens that `commit` was given for this sequence.
    public let ordinal: Int
    /// The token.
    public let token: Int32
    /// Set on a sequence's last token.
    public let finish: Finish?
}
