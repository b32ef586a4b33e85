public import EngineLink

/// What one request's choices have said so far: tokens go in, finished events come out.
///
/// The events are the same however many readers there are: an answer that is not streamed is the text
/// of its events, joined. Owned by one thread at a time.
public struct Transcript: Sendable {
    /// What holds for all choices.
    struct Rules: Sendable {
        let stop: StopMatcher?
        let logprobs: Bool
        /// Tokens of a choice before stop strings count.
        let minTokens: Int
    }

    /// What a step brought.
    public struct Step: Sendable, Equatable {
        /// For the readers, in order.
        public var events: [OutputEvent] = []
        /// Choices that hit a stop string: the engine, which does not know of it, must cancel them.
        public var cancelled: [Int] = []

        /// Nothing.
        public init() {}
    }

    private let rules: Rules
    private let firstIndex: Int
    private var choices: [ChoiceTranscript]
    private var opened: [Bool]

    /// Creates a transcript without tokens.
    /// - Parameters:
    ///   - choices: How many choices; the engine knows them as 0, 1, ….
    ///   - firstIndex: What is added to a choice's number in events, for requests of several prompts.
    ///   - stop: Stop strings; they end a choice and are never part of its text.
    ///   - logprobs: Whether text comes with its tokens.
    ///   - minTokens: Before so many tokens stop strings do not count.
    ///   - decoder: Makes a decoder for each choice.
    public init(
        choices: Int,
        firstIndex: Int = 0,
        stop: [String] = [],
        logprobs: Bool = false,
        minTokens: Int = 0,
        decoder: () -> any TokenDecoder
    ) {
        rules = Rules(stop: StopMatcher(stop), logprobs: logprobs, minTokens: minTokens)
        self.firstIndex = firstIndex
        self.choices = (0..<max(0, choices)).map { _ in ChoiceTranscript(decoder: decoder()) }
        opened = Array(repeating: false, count: self.choices.count)
    }

    /// Takes the tokens of one engine step; those of choices that are over, or unknown, are ignored.
    ///
    /// Each choice gets at most one text event.
    public mutating func consume(_ tokens: [TokenEvent]) -> Step {
        var step = Step()
        var touched: [Int] = []
        for event in tokens where choices.indices.contains(event.choice) {
            let choice = event.choice
            guard choices[choice].end == nil else { continue }
            if !touched.contains(choice) { touched.append(choice) }
            choices[choice].consume(event, rules)
            if choices[choice].end != nil, event.finish == nil { step.cancelled.append(choice) }
        }
        for choice in touched {
            let index = firstIndex + choice
            if !opened[choice] {
                opened[choice] = true
                step.events.append(.opened(choice: index))
            }
            let (text, reports) = choices[choice].take()
            if !text.isEmpty || !reports.isEmpty {
                step.events.append(.text(choice: index, text: text, tokens: reports))
            }
            if let end = choices[choice].end {
                let count = choices[choice].tokenCount
                step.events.append(.finished(choice: index, reason: end, tokens: count))
            }
        }
        return step
    }

    /// Ends all choices that are not over with a failure; held text is not shown.
    ///
    /// Nothing comes of it where every choice is over.
    public mutating func fail(_ failure: GenerationFailure) -> [OutputEvent] {
        guard !isFinished else { return [] }
        for choice in choices.indices { choices[choice].abandon() }
        return [.failed(failure)]
    }

    /// The engine says that the generation is over; a choice without an end is then its failure.
    public mutating func end() -> [OutputEvent] { fail(.engineFailed) }

    /// Whether every choice is over.
    public var isFinished: Bool { choices.allSatisfy { $0.end != nil } }

    /// Tokens drawn for all choices, each up to its end.
    public var completionTokens: Int { choices.reduce(0) { $0 + $1.tokenCount } }
}
