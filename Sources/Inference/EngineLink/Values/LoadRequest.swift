/// Which model an engine loads and how: all the settings that an engine has.
public struct LoadRequest: Sendable, Equatable {
    /// Model folder or GGUF file, absolute.
    public var path: String
    /// The id under which clients ask for it.
    public var modelID: String
    /// Tells one state of the model's files from others; only compared.
    public var filesIdentity: String
    /// `cpu`, `cuda` or `cuda:N`.
    public var device: String
    /// `auto`, `float32`, `bfloat16` or `float16`.
    public var dtype: String
    /// `none`, or what floats are quantised to while they are read: `nf4`, `int8` or `int4`.
    public var quantize: String
    /// The type that bitsandbytes' checkpoints and `nf4` compute in; `auto`: as `dtype` says.
    public var bnbComputeType: String
    /// Sequences that may run at once.
    public var maxSlots: Int
    /// Longest sequence in tokens; nil: what the model says.
    public var maxContext: Int?
    /// Tokens that the KV cache may hold in all; nil: the engine's own choice from free memory.
    public var kvTokens: Int?
    /// Token budget of one step, decodes and prefill together.
    public var stepTokens: Int
    /// Compute threads; nil: the engine's own choice.
    public var threads: Int?
    /// How Qwen2.5-VL's clips are counted: `original`, or `hf517` as transformers 5.17 does.
    public var videoPositions: String
    /// Bytes of features of images and clips that are kept after their prompts.
    public var visionCacheBytes: Int
    /// Seconds that an engine without a front keeps its model.
    public var orphanGrace: Int
    /// Seconds without work after which the front unloads; 0: never; nil: the supervisor's setting.
    ///
    /// Only the front looks at it; the engine tells it to the front that adopts it.
    public var idleTimeout: Int?

    /// Creates a request.
    public init(
        path: String,
        modelID: String,
        filesIdentity: String = "",
        device: String = "cpu",
        dtype: String = "auto",
        quantize: String = "none",
        bnbComputeType: String = "auto",
        maxSlots: Int = 16,
        maxContext: Int? = nil,
        kvTokens: Int? = nil,
        stepTokens: Int = 512,
        threads: Int? = nil,
        videoPositions: String = "original",
        visionCacheBytes: Int = 256 << 20,
        orphanGrace: Int = 30,
        idleTimeout: Int? = nil
    ) {
        self.path = path
        self.modelID = modelID
        self.filesIdentity = filesIdentity
        self.device = device
        self.dtype = dtype
        self.quantize = quantize
        self.bnbComputeType = bnbComputeType
        self.maxSlots = maxSlots
        self.maxContext = maxContext
        self.kvTokens = kvTokens
        self.stepTokens = stepTokens
        self.threads = threads
        self.videoPositions = videoPositions
        self.visionCacheBytes = visionCacheBytes
        self.orphanGrace = orphanGrace
        self.idleTimeout = idleTimeout
    }

    /// Whether an engine loaded for `other` serves this request as it is: the timeouts and the id do
    /// not matter to it.
    public func isSameEngine(as other: LoadRequest) -> Bool {
        path == other.path && filesIdentity == other.filesIdentity && device == other.device
            && dtype == other.dtype && quantize == other.quantize
            && bnbComputeType == other.bnbComputeType
            && maxSlots == other.maxSlots && maxContext == other.maxContext
            && kvTokens == other.kvTokens && stepTokens == other.stepTokens
            && threads == other.threads && videoPositions == other.videoPositions
    }
}
