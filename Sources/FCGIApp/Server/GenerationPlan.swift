internal import EngineLink
internal import OpenAI

/// What a validated request becomes: everything that a generation needs and nothing of its wire form.
struct GenerationPlan: Sendable {
    /// The model that answers.
    let model: ServedModel
    /// How its engine is told to load it.
    let load: LoadRequest
    /// One or several prompts; each has its own `n` choices.
    let prompts: [[Int32]]
    /// Text that each choice begins with (`echo`), one for each prompt; empty = none.
    var echoes: [String] = []
    /// Images and clips of the only prompt, for the engine.
    var media: [PromptMedia] = []
    /// The same with their share of the room for pixels, which lasts as long as the plan.
    var placedMedia: [PlacedMedium] = []
    /// Seconds of fetching and decoding them.
    var mediaSeconds = 0.0
    /// Choices of each prompt.
    let n: Int
    let sampling: SamplingParameters
    let stop: StopConditions
    let stopStrings: [String]
    let logprobs: Int?
    /// Seconds that the engine stays afterwards; nil = as set.
    let keepAlive: Int?

    var promptTokens: Int { prompts.reduce(0) { $0 + $1.count } }
    /// The most tokens that it can use, for the key's limits.
    var reservation: Int { promptTokens + prompts.count * n * stop.maxTokens }
}

/// One thing that the readers of a generation see; its place in the log is its event id.
enum StreamItem: Sendable {
    /// A choice begins.
    case role(choice: Int)
    /// More text of a choice.
    case text(choice: Int, String, [LogprobEntry]?)
    /// A choice is complete.
    case finish(choice: Int, FinishReason)
    /// All choices are complete; carried by `usage` chunks and whole answers.
    case usage(Usage, Timings)
    /// The generation ended early; nothing follows.
    case failure(APIError)

    /// The choice it belongs to.
    var choice: Int? {
        switch self {
        case .role(let choice), .text(let choice, _, _), .finish(let choice, _): choice
        case .usage, .failure: nil
        }
    }
}
