internal import EngineLink
internal import NN
internal import Scheduling

/// How the tokens of one request are drawn, and what its choices have said so far.
struct SamplingJob {
    /// The request's id, for the log.
    let label: String
    private let sampling: SamplingParameters
    private let logprobs: Int?
    private var histories: [Int: TokenHistory] = [:]

    init(_ request: GenerationRequest) {
        label = request.label
        sampling = request.sampling
        logprobs = request.logprobs
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

    /// Whether a row depends on the tokens that were drawn before.
    var looksBack: Bool { !histories.isEmpty }

    /// The sampler's row for the token that an item of a plan draws.
    func row(_ item: Plan.Item) -> SamplerRow {
        let choice = item.sequence.choice
        var row = SamplerRow()
        row.temperature = sampling.temperature
        row.topK = sampling.topK
        row.topP = sampling.topP
        row.minP = sampling.minP
        row.presencePenalty = sampling.presencePenalty
        row.frequencyPenalty = sampling.frequencyPenalty
        row.repetitionPenalty = sampling.repetitionPenalty
        row.logitBias = sampling.logitBias
        row.seed = sampling.seed
        row.choice = UInt32(clamping: choice)
        row.position = UInt32(clamping: item.outputIndex)
        row.topLogprobs = logprobs
        row.history = histories[choice]
        row.suppressed = item.suppressed
        return row
    }

    /// Counts a new token.
    func note(_ token: Int32, choice: Int) { histories[choice]?.append(token) }
}
