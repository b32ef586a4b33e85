/// Writes the objects of one chat completion, streamed or whole, straight to bytes.
public struct ChatWriter: Sendable {
    /// Up to `"index":` of a chunk's only choice.
    private let chunkStart: [UInt8]
    /// Up to `"choices":`.
    private let usageStart: [UInt8]
    private let wholeStart: [UInt8]
    private let includeUsage: Bool

    /// Prepares what all objects share.
    ///
    /// With `includeUsage` chunks carry `"usage":null`, as they do before a chunk with the counts.
    public init(_ head: ResponseHead, includeUsage: Bool = false) {
        var bytes: [UInt8] = []
        head.append(object: "chat.completion.chunk", to: &bytes)
        usageStart = bytes
        bytes.append(literal: "[{\"index\":")
        chunkStart = bytes
        bytes = []
        head.append(object: "chat.completion", to: &bytes)
        wholeStart = bytes
        self.includeUsage = includeUsage
    }

    /// Appends the first chunk of a choice.
    public func appendRole(choice: Int, to output: inout [UInt8]) {
        chunk(choice, nil, nil, nil, to: &output) { output in
            output.append(literal: "\"role\":\"assistant\",\"content\":\"\"")
        }
    }

    /// Appends a piece of text with the logprobs of its tokens.
    public func appendText(
        choice: Int,
        text: String,
        logprobs: [LogprobEntry]? = nil,
        to output: inout [UInt8]
    ) {
        chunk(choice, logprobs, nil, nil, to: &output) { output in
            output.append(literal: "\"content\":")
            output.append(json: text)
        }
    }

    /// Appends the last chunk of a choice.
    public func appendFinish(
        choice: Int,
        reason: FinishReason,
        timings: Timings? = nil,
        to output: inout [UInt8]
    ) {
        chunk(choice, nil, reason, timings, to: &output) { _ in }
    }

    /// Appends the chunk without choices that ends a stream with `include_usage`.
    public func appendUsage(_ usage: Usage, timings: Timings? = nil, to output: inout [UInt8]) {
        output += usageStart
        output.append(literal: "[]")
        output.appendTail(usage: usage, timings: timings)
    }

    /// Appends the answer to a request that is not streamed.
    public func appendWhole(
        _ choices: [AnsweredChoice],
        usage: Usage,
        timings: Timings? = nil,
        to output: inout [UInt8]
    ) {
        output += wholeStart
        output.append(array: choices) { output, choice in
            output.append(literal: "{\"index\":")
            output.append(json: choice.index)
            output.append(literal: ",\"message\":{\"role\":\"assistant\",\"content\":")
            output.append(json: choice.text)
            output.append(literal: ",\"refusal\":null},\"logprobs\":")
            LogprobEntry.appendChat(choice.logprobs, to: &output)
            output.append(literal: ",\"finish_reason\":")
            output.append(json: choice.finish.rawValue)
            output.append(literal: "}")
        }
        output.appendTail(usage: usage, timings: timings)
    }

    private func chunk(
        _ choice: Int,
        _ logprobs: [LogprobEntry]?,
        _ finish: FinishReason?,
        _ timings: Timings?,
        to output: inout [UInt8],
        delta: (inout [UInt8]) -> Void
    ) {
        output += chunkStart
        output.append(json: choice)
        output.append(literal: ",\"delta\":{")
        delta(&output)
        output.append(literal: "},\"logprobs\":")
        LogprobEntry.appendChat(logprobs, to: &output)
        output.append(literal: ",\"finish_reason\":")
        output.append(json: finish?.rawValue)
        output.append(literal: "}]")
        output.appendChunkTail(nullUsage: includeUsage, timings: timings)
    }
}

extension [UInt8] {
    /// Closes an object after its choices, with the counts.
    mutating func appendTail(usage: Usage, timings: Timings?) {
        append(literal: ",\"usage\":")
        usage.append(to: &self)
        appendChunkTail(nullUsage: false, timings: timings)
    }

    /// Closes an object after its choices.
    mutating func appendChunkTail(nullUsage: Bool, timings: Timings?) {
        if nullUsage { append(literal: ",\"usage\":null") }
        if let timings {
            append(literal: ",\"timings\":")
            timings.append(to: &self)
        }
        append(literal: "}")
    }
}
