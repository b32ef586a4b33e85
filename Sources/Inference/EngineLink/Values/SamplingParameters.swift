/// How a token is drawn from the logits.
///
/// Every field has a value that switches it off, so that the default is a plain draw at temperature
/// 1.
public struct SamplingParameters: Sendable, Equatable {
    /// Divides the logits; 0 means greedy.
    ///
    /// 0…100 on the wire.
    public var temperature: Float
    /// Keeps the k largest logits; 0 is off.
    public var topK: Int
    /// Keeps the smallest set of tokens with this probability; 1 is off.
    public var topP: Float
    /// Keeps tokens at least this fraction as probable as the best; 0 is off.
    public var minP: Float
    /// Subtracted once from each token that was generated before; 0 is off.
    public var presencePenalty: Float
    /// Subtracted per earlier occurrence among the generated tokens; 0 is off.
    public var frequencyPenalty: Float
    /// Divides positive and multiplies negative logits of tokens in prompt or output; 1 is off.
    ///
    /// Also applies when greedy.
    public var repetitionPenalty: Float
    /// Added to the logits of these token ids; at most 1024 entries.
    public var logitBias: [Int32: Float]
    /// Key of the counter-based generator; always drawn by the front.
    public var seed: UInt64

    /// Creates parameters; all that is left out is off.
    public init(
        temperature: Float = 1,
        topK: Int = 0,
        topP: Float = 1,
        minP: Float = 0,
        presencePenalty: Float = 0,
        frequencyPenalty: Float = 0,
        repetitionPenalty: Float = 1,
        logitBias: [Int32: Float] = [:],
        seed: UInt64 = 0
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.repetitionPenalty = repetitionPenalty
        self.logitBias = logitBias
        self.seed = seed
    }
}
