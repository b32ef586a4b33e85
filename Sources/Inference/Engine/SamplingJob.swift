internal import EngineLink
internal import NN

/// How the tokens of one request are drawn, and what its choices have said so far.
struct SamplingJob {
    private let sampling: SamplingParameters
    private let logprobs: Int?
    private let minTokens: Int
    private let stopTokens: [Int32]
    private let ignoresStop: Bool
    private let bias: [Int32: Float]
    private var histories: [Int: TokenHistory] = [:]

    init(_ request: GenerationRequest) {
        sampling = request.sampling
        logprobs = request.logprobs
        minTokens = request.stop.minTokens
        stopTokens = request.stop.stopTokens
        ignoresStop = request.stop.ignoreEOS
        bias = request.sampling.logitBias
        let needsHistory =
            sampling.presencePenalty != 0 || sampling.frequencyPenalty != 0
            || sampling.repetitionPenalty != 1
        guard needsHistory else { return }
        for choice in request.choices {
            histories[choice.index] = TokenHistory(
                prompt: request.prompt,
                generated: choice.generated
            )
        }
    }

    /// The sampler's row for the token at `position` of a choice's output.
    func row(choice: Int, position: Int) -> SamplerRow {
        var row = SamplerRow()
        row.temperature = sampling.temperature
        row.topK = sampling.topK
        row.topP = sampling.topP
        row.minP = sampling.minP
        row.presencePenalty = sampling.presencePenalty
        row.frequencyPenalty = sampling.frequencyPenalty
        row.repetitionPenalty = sampling.repetitionPenalty
        row.logitBias = bias
        row.seed = sampling.seed
        row.choice = UInt32(clamping: choice)
        row.position = UInt32(clamping: position)
        row.topLogprobs = logprobs
        row.history = histories[choice]
        if position < minTokens, !ignoresStop { row.suppressed = stopTokens }
        return row
    }

    /// Counts a new token.
    func note(_ token: Int32, choice: Int) { histories[choice]?.append(token) }
}
