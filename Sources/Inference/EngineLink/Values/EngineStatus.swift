/// The engine and its queue at one moment.
public struct EngineStatus: Sendable, Equatable {
    /// The engine's phase as clients see it.
    public enum State: String, Sendable, Equatable {
        /// No engine process.
        case absent
        /// An engine starts or loads.
        case loading
        /// A model is loaded.
        case serving
        /// An engine ends, or will when its work is done.
        case draining
        /// No engine; the last model failed to load and is not tried again yet.
        case coolDown = "cool_down"
    }

    /// Phase.
    public var state: State = .absent
    /// Id of the model that is loaded or loads; in cool-down, of the one that failed.
    public var modelID: String?
    /// What the engine said of the loaded model.
    public var model: LoadedModel?
    /// Part that is loaded, 0…1; 1 when serving.
    public var progress: Double = 0
    /// Seconds until the idle engine is unloaded; nil while busy, never unloading or absent.
    public var remainingIdleSeconds: Int?
    /// Cause of the last failed load, in cool-down.
    public var cause: LoadFailureCause?
    /// Seconds until the failed model may be tried again, in cool-down.
    public var retryAfterSeconds: Int?
    /// Generations in the engine.
    public var running = 0
    /// Generations in the queue.
    public var waiting = 0
    /// Slots that are free.
    public var freeSlots = 0
    /// Tokens that the KV cache holds and may hold, as last reported.
    public var kvUsed = 0
    /// Tokens that the KV cache may hold.
    public var kvTotal = 0
    /// Loads that succeeded.
    public var loads = 0
    /// Loads that failed.
    public var loadFailures = 0
    /// Engines that ended because they were told to.
    public var unloads = 0
    /// Engines that died or were killed as hung.
    public var crashes = 0
    /// Of these, engines that were killed as hung.
    public var hangs = 0
    /// Steps that the present engine has reported.
    public var steps: UInt64 = 0
    /// Seconds of the last load, the start of the process included; nil before the first.
    public var loadSeconds: Double?
    /// Seconds that a request would wait if it came now.
    public var queueWaitEstimate: Double = 0
    /// Seconds after which a request that cannot be served now may come again, at least 1: the rest
    /// of the cool-down, of the load, or of the queue.
    public var retrySeconds = 1
    /// The engine's process.
    public var pid: Int32?
    /// Resident bytes of the engine, as the kernel last told; where it does not, as last reported.
    public var residentBytes: Int?
    /// Bytes of the device's memory that tensors hold, as last reported; 0 on the CPU.
    public var allocatedBytes = 0
    /// Bytes of the device's memory that the allocator holds, as last reported; 0 on the CPU.
    public var reservedBytes = 0
    /// The generations, running ones first, then waiting ones in their order.
    public var requests: [RequestStatus] = []

    /// An absent engine.
    public init() {}
}

/// One generation in `EngineStatus`.
public struct RequestStatus: Sendable, Equatable {
    /// Where a generation is.
    public enum Phase: String, Sendable, Equatable {
        /// In the queue behind others.
        case queued
        /// In the queue while its model loads.
        case loading
        /// In the engine, before its first token since it was submitted.
        case prefill
        /// In the engine, with tokens.
        case decode
    }

    /// The generation.
    public var id: GenerationID
    /// Fairness key that it was submitted with.
    public var key: String
    /// Model that it waits for or runs on.
    public var modelID: String
    /// Where it is.
    public var phase: Phase
    /// From 1, for waiting ones.
    public var queuePosition: Int?
    /// Tokens of all its choices so far.
    public var tokens: Int

    /// Creates a row.
    public init(
        id: GenerationID,
        key: String,
        modelID: String,
        phase: Phase,
        queuePosition: Int?,
        tokens: Int
    ) {
        self.id = id
        self.key = key
        self.modelID = modelID
        self.phase = phase
        self.queuePosition = queuePosition
        self.tokens = tokens
    }
}

/// How an unload ended.
public enum UnloadOutcome: Sendable, Equatable {
    /// The engine's process is gone; what it said of itself before, where it had a model.
    case unloaded(LoadedModel?)
    /// There was no engine.
    case nothingLoaded
    /// So many generations still run; the engine goes on serving.
    case busy(running: Int)
}
