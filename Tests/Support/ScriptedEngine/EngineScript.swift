public import EngineLink
public import JSON

/// What a scripted engine does: the play that a test of the front is about.
public struct EngineScript: Sendable, Equatable {
    /// Milliseconds between steps while there is work.
    public var stepMs = 10.0
    /// Steps between a submission and its first token.
    public var prefillSteps = 0
    /// Seconds that a load takes, with progress on the way.
    public var loadSeconds = 0.0
    /// A load ends with this cause.
    public var loadFailure: LoadFailureCause?
    /// The process dies half-way through a load.
    public var crashesInLoad = false
    /// A load stands still half-way.
    public var hangsInLoad = false
    /// The process dies after so many steps.
    public var crashAfterSteps: Int?
    /// The engine's thread stands still after so many steps.
    public var hangAfterSteps: Int?
    /// Garbage instead of the step with this number.
    public var garbageAfterSteps: Int?
    /// The process dies when it gets a prompt with this token.
    public var poisonToken: Int32?
    /// Each generation fails by itself when its prompt has this token.
    public var failToken: Int32?
    /// Whether hello names a protocol version from the future.
    public var hasWrongVersion = false
    /// Whether `unload` is ignored.
    public var ignoresUnload = false
    /// Sequences at once; nil: what the load asks for.
    public var slots: Int?
    /// Tokens that the KV cache may hold.
    public var kvTokens = 1 << 24
    /// Tokens are below this.
    public var vocabularySize = 32_000
    /// Longest sequence.
    public var contextLength = 1 << 20
    /// Tokens to write instead of drawn ones; after the last comes a stop token.
    public var tokens: [Int32] = []
    /// Revision of the model in `loaded`.
    public var revision = "scripted"
    /// Where `loaded` says that the model runs.
    public var device = "cpu"
    /// The GPU's address in `loaded`.
    public var busID = ""
    /// What a report says of the device's memory; `trim` lets go of what is reserved and not allocated.
    public var allocatedBytes = 0
    /// The same of what the allocator holds.
    public var reservedBytes = 0
    /// Bytes of the GPU, in a file that a stand-in for NVML reads: `gpus TOTAL FREE`.
    public var gpuBytes = 0
    /// The file, written at load, trim and unload.
    public var gpuFile: String?
    /// A file that gets a line with the monotonic clock's nanoseconds at each step, before it is sent.
    public var stepLog: String?

    /// A quick engine without mishaps.
    public init() {}

    /// Reads a JSON object whose members are the fields' names.
    ///
    /// Unknown names and wrong types are ignored: the reader is a test's own.
    public init(_ json: JSONValue) {
        if let value = json["stepMs"]?.double { stepMs = value }
        if let value = json["prefillSteps"]?.int { prefillSteps = value }
        if let value = json["loadSeconds"]?.double { loadSeconds = value }
        loadFailure = json["loadFailure"]?.string.flatMap { LoadFailureCause(rawValue: $0) }
        crashesInLoad = json["crashesInLoad"]?.bool ?? false
        hangsInLoad = json["hangsInLoad"]?.bool ?? false
        crashAfterSteps = json["crashAfterSteps"]?.int
        hangAfterSteps = json["hangAfterSteps"]?.int
        garbageAfterSteps = json["garbageAfterSteps"]?.int
        poisonToken = json["poisonToken"]?.int.flatMap { Int32(exactly: $0) }
        failToken = json["failToken"]?.int.flatMap { Int32(exactly: $0) }
        hasWrongVersion = json["hasWrongVersion"]?.bool ?? false
        ignoresUnload = json["ignoresUnload"]?.bool ?? false
        slots = json["slots"]?.int
        if let value = json["kvTokens"]?.int { kvTokens = value }
        if let value = json["vocabularySize"]?.int { vocabularySize = value }
        if let value = json["contextLength"]?.int { contextLength = value }
        tokens = (json["tokens"]?.array ?? []).compactMap { $0.int.flatMap { Int32(exactly: $0) } }
        if let value = json["revision"]?.string { revision = value }
        if let value = json["device"]?.string { device = value }
        if let value = json["busID"]?.string { busID = value }
        if let value = json["allocatedBytes"]?.int { allocatedBytes = value }
        if let value = json["reservedBytes"]?.int { reservedBytes = value }
        if let value = json["gpuBytes"]?.int { gpuBytes = value }
        gpuFile = json["gpuFile"]?.string
        stepLog = json["stepLog"]?.string
    }

    /// The token at a position of a choice: a function of these alone, so that a continuation after a
    /// crash can be compared with an undisturbed run.
    public func token(prompt: [Int32], seed: UInt64, choice: Int, position: Int) -> Int32 {
        if !tokens.isEmpty { return tokens[position % tokens.count] }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for value in prompt { hash = (hash ^ UInt64(bitPattern: Int64(value))) &* 0x100_0000_01b3 }
        hash ^= seed &* 0x9e37_79b9_7f4a_7c15
        hash ^= UInt64(truncatingIfNeeded: choice) &* 0xbf58_476d_1ce4_e5b9
        hash &+= UInt64(truncatingIfNeeded: position) &* 0x94d0_49bb_1331_11eb
        hash = (hash ^ (hash >> 31)) &* 0xbf58_476d_1ce4_e5b9
        hash ^= hash >> 29
        return Int32(truncatingIfNeeded: hash % UInt64(max(1, vocabularySize)))
    }

    /// All tokens of a choice that runs to its `maxTokens`.
    public func tokens(prompt: [Int32], seed: UInt64, choice: Int, count: Int) -> [Int32] {
        (0..<count).map { token(prompt: prompt, seed: seed, choice: choice, position: $0) }
    }
}
