/// Names a generation between front and engine.
public typealias GenerationID = UInt64

/// One prompt and the choices that continue it, in token ids.
public struct GenerationRequest: Sendable, Equatable {
    /// The prompt; never empty.
    public var prompt: [Int32]
    /// The choices, at least one, with distinct indexes.
    public var choices: [ChoiceStart]
    /// How tokens are drawn; one seed for all choices, which the choice's index tells apart.
    public var sampling: SamplingParameters
    /// When a choice ends.
    public var stop: StopConditions
    /// Nil: no logprobs.
    ///
    /// 0…20: the chosen token's, with so many of the most probable beside it.
    public var logprobs: Int?
    /// Images and clips, in the order of their placeholders; at most 1024.
    public var media: [PromptMedia]
    /// The request's id, for the engine's log; at most 128 bytes, cut where longer.
    public var label: String

    /// Creates a request; without choices it asks for one new choice, index 0.
    public init(
        prompt: [Int32],
        choices: [ChoiceStart] = [ChoiceStart(index: 0)],
        sampling: SamplingParameters = SamplingParameters(),
        stop: StopConditions,
        logprobs: Int? = nil,
        media: [PromptMedia] = [],
        label: String = ""
    ) {
        self.prompt = prompt
        self.choices = choices
        self.sampling = sampling
        self.stop = stop
        self.logprobs = logprobs
        self.media = media
        self.label = String(decoding: label.utf8.prefix(128), as: UTF8.self)
    }
}

/// Where a choice starts: at the prompt's end, or after tokens of an earlier engine's life.
public struct ChoiceStart: Sendable, Equatable {
    /// Number of the choice, from 0; part of the draw's counter.
    public var index: Int
    /// Tokens that exist already: they are prefilled, never drawn or reported again.
    public var generated: [Int32]

    /// Creates a start; `generated` is empty for a new choice.
    public init(index: Int, generated: [Int32] = []) {
        self.index = index
        self.generated = generated
    }
}
