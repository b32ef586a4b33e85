internal import OpenAI

/// Items as chat completion chunks.
struct ChatItems: ItemWriter {
    let writer: ChatWriter
    let includeUsage: Bool
    let timings: Bool

    init(_ head: ResponseHead, _ options: GenerationOptions) {
        includeUsage = options.includeUsage
        timings = options.timings
        writer = ChatWriter(head, includeUsage: includeUsage)
    }

    func append(_ item: StreamItem, to output: inout [UInt8]) -> Bool {
        switch item {
        case .role(let choice): writer.appendRole(choice: choice, to: &output)
        case .text(let choice, let text, let logprobs):
            writer.appendText(choice: choice, text: text, logprobs: logprobs, to: &output)
        case .finish(let choice, let reason):
            writer.appendFinish(choice: choice, reason: reason, to: &output)
        case .usage(let usage, let times):
            guard includeUsage || timings else { return false }
            writer.appendUsage(usage, timings: timings ? times : nil, to: &output)
        case .failure(let error): error.appendBody(to: &output)
        }
        return true
    }

    func appendWhole(
        _ choices: [AnsweredChoice],
        _ usage: Usage,
        _ times: Timings,
        to output: inout [UInt8]
    ) {
        writer.appendWhole(choices, usage: usage, timings: timings ? times : nil, to: &output)
    }
}

/// Items as text completion chunks.
struct CompletionItems: ItemWriter {
    let writer: CompletionWriter
    let includeUsage: Bool
    let timings: Bool

    init(_ head: ResponseHead, _ options: GenerationOptions) {
        includeUsage = options.includeUsage
        timings = options.timings
        writer = CompletionWriter(head, includeUsage: includeUsage)
    }

    func append(_ item: StreamItem, to output: inout [UInt8]) -> Bool {
        switch item {
        case .role: return false
        case .text(let choice, let text, let logprobs):
            writer.appendText(choice: choice, text: text, logprobs: logprobs, to: &output)
        case .finish(let choice, let reason):
            writer.appendFinish(choice: choice, reason: reason, to: &output)
        case .usage(let usage, let times):
            guard includeUsage || timings else { return false }
            writer.appendUsage(usage, timings: timings ? times : nil, to: &output)
        case .failure(let error): error.appendBody(to: &output)
        }
        return true
    }

    func appendWhole(
        _ choices: [AnsweredChoice],
        _ usage: Usage,
        _ times: Timings,
        to output: inout [UInt8]
    ) {
        writer.appendWhole(choices, usage: usage, timings: timings ? times : nil, to: &output)
    }
}
