internal import OpenAI

/// What the chat and the completion writers have in common.
protocol AnswerWriter {
    /// Appends a choice's first chunk; false where the endpoint has none.
    func appendRole(choice: Int, into output: inout [UInt8]) -> Bool
    func appendText(choice: Int, text: String, logprobs: [LogprobEntry]?, to output: inout [UInt8])
    func appendFinish(
        choice: Int,
        reason: FinishReason,
        timings: Timings?,
        to output: inout [UInt8]
    )
    func appendUsage(_ usage: Usage, timings: Timings?, to output: inout [UInt8])
    func appendWhole(
        _ choices: [AnsweredChoice],
        usage: Usage,
        timings: Timings?,
        to output: inout [UInt8]
    )
}

extension ChatWriter: AnswerWriter {
    func appendRole(choice: Int, into output: inout [UInt8]) -> Bool {
        appendRole(choice: choice, to: &output)
        return true
    }
}

extension CompletionWriter: AnswerWriter {
    func appendRole(choice: Int, into output: inout [UInt8]) -> Bool { false }
}

/// Items as the bytes of one endpoint's answers.
struct ItemWriter {
    private let writer: any AnswerWriter
    private let includeUsage: Bool
    private let timings: Bool

    /// Chunks of /v1/chat/completions.
    static func chat(_ head: ResponseHead, _ options: GenerationOptions) -> ItemWriter {
        ItemWriter(ChatWriter(head, includeUsage: options.includeUsage), options)
    }

    /// Chunks of /v1/completions.
    static func completion(_ head: ResponseHead, _ options: GenerationOptions) -> ItemWriter {
        ItemWriter(CompletionWriter(head, includeUsage: options.includeUsage), options)
    }

    private init(_ writer: any AnswerWriter, _ options: GenerationOptions) {
        self.writer = writer
        includeUsage = options.includeUsage
        timings = options.timings
    }

    /// Appends the `data:` part of the item's event; false where this endpoint shows nothing for it.
    func append(_ item: StreamItem, to output: inout [UInt8]) -> Bool {
        switch item {
        case .role(let choice): return writer.appendRole(choice: choice, into: &output)
        case .text(let choice, let text, let logprobs):
            writer.appendText(choice: choice, text: text, logprobs: logprobs, to: &output)
        case .finish(let choice, let reason):
            writer.appendFinish(choice: choice, reason: reason, timings: nil, to: &output)
        case .usage(let usage, let times):
            guard includeUsage || timings else { return false }
            writer.appendUsage(usage, timings: timings ? times : nil, to: &output)
        case .failure(let error): error.appendBody(to: &output)
        }
        return true
    }

    /// Appends the whole answer.
    func appendWhole(
        _ choices: [AnsweredChoice],
        _ usage: Usage,
        _ times: Timings,
        to output: inout [UInt8]
    ) { writer.appendWhole(choices, usage: usage, timings: timings ? times : nil, to: &output) }
}
