/// Names one choice of one request.
public struct SequenceKey: Sendable, Hashable {
    /// The request's id.
    public let request: UInt64
    /// The choice's number.
    public let choice: Int

    /// Names a choice.
    public init(request: UInt64, choice: Int) {
        self.request = request
        self.choice = choice
    }
}

/// What is to be generated.
public struct SchedulerRequest: Sendable, Equatable {
    /// One answer, and what of it an earlier engine generated already.
    public struct Choice: Sendable, Equatable {
        /// The choice's number.
        public var index: Int
        /// Tokens behind the prompt.
        public var generated: [Int32]

        /// Describes an answer.
        public init(index: Int, generated: [Int32] = []) {
            self.index = index
            self.generated = generated
        }
    }

    /// The request's id.
    public var id: UInt64
    /// Token ids, at least one.
    public var prompt: [Int32]
    /// The answers.
    public var choices: [Choice]
    /// Most tokens of an answer.
    public var maxTokens: Int
    /// Tokens that end an answer; empty where they are ignored.
    public var stopTokens: Set<Int32>

    /// Describes a request.
    public init(
        id: UInt64,
        prompt: [Int32],
        choices: [Choice],
        maxTokens: Int,
        stopTokens: Set<Int32>
    ) {
        self.id = id
        self.prompt = prompt
        self.choices = choices
        self.maxTokens = maxTokens
        self.stopTokens = stopTokens
    }
}

/// Why a request can never be computed.
public enum Refusal: Error, Sendable, Equatable {
    /// There is no prompt.
    case empty
    /// It is longer than the cache or the model allows.
    case tooLong(length: Int, limit: Int)
    /// The id is taken.
    case duplicate
}

/// One choice on its way.
struct Sequence: Sendable {
    /// Prompt and generated tokens.
    var tokens: [Int32]
    let promptCount: Int
    /// Tokens from the start that are in the cache.
    var computed = 0
    /// Its place in the cache.
    var slot: Int?
    let order: UInt64
    /// The choice whose prompt it can copy.
    let leader: SequenceKey?
    private let maxTokens: Int
    private let stopTokens: Set<Int32>

    init(request: SchedulerRequest, generated: [Int32], order: UInt64, leader: SequenceKey?) {
        tokens = request.prompt + generated
        promptCount = request.prompt.count
        self.order = order
        self.leader = leader
        maxTokens = request.maxTokens
        stopTokens = request.stopTokens
    }

    var generatedCount: Int { tokens.count - promptCount }
    /// Whether only the newest token is missing from the cache.
    var isDecoding: Bool { computed > 0 && computed == tokens.count - 1 && generatedCount > 0 }

    /// Whether the newest token is the last one.
    func end(after token: Int32, reach: Int) -> Commit.End? {
        if stopTokens.contains(token) { return .stop }
        return generatedCount >= maxTokens || tokens.count >= reach ? .length : nil
    }
}
