/// What an engine says of the model that it has loaded.
public struct LoadedModel: Sendable, Equatable {
    /// The id from the load request.
    public var modelID: String
    /// Fingerprint of the checkpoint's files; a changed file has another one.
    public var revision: String
    /// Rows of the output head.
    public var vocabularySize: Int
    /// Longest sequence in tokens, prompt and output together.
    public var contextLength: Int
    /// Sequences that may run at once.
    public var slots: Int
    /// Tokens that the KV cache may hold in all.
    public var kvTokens: Int
    /// Compute type: `float32`, `bfloat16` or `float16`.
    public var dtype: String
    /// What most of its layers are kept as: `dtype`, or a quantised kind such as `nf4` or `q4_1`.
    public var weights: String
    /// `cpu` or `cuda:N`.
    public var device: String
    /// Address of a GPU on its bus, as NVML takes it (`0000:01:00.0`); empty on the CPU.
    public var busID: String
    /// Resident bytes of the engine's process after the load.
    public var residentBytes: Int
    /// Seconds that the load took.
    public var loadSeconds: Double

    /// The two in one word: `bfloat16`, or `nf4-bfloat16`.
    public var numbers: String { weights == dtype ? dtype : "\(weights)-\(dtype)" }

    /// Creates a description; without `weights` they are dense.
    public init(
        modelID: String,
        revision: String,
        vocabularySize: Int,
        contextLength: Int,
        slots: Int,
        kvTokens: Int,
        dtype: String,
        weights: String? = nil,
        device: String,
        residentBytes: Int,
        loadSeconds: Double,
        busID: String = ""
    ) {
        self.modelID = modelID
        self.revision = revision
        self.vocabularySize = vocabularySize
        self.contextLength = contextLength
        self.slots = slots
        self.kvTokens = kvTokens
        self.dtype = dtype
        self.weights = weights ?? dtype
        self.device = device
        self.residentBytes = residentBytes
        self.loadSeconds = loadSeconds
        self.busID = busID
    }
}
