/// Writes the objects of one text completion, streamed or whole, straight to bytes; the two have the
/// same shape.
public struct CompletionWriter: Sendable {
    /// Up to `"choices":`.
    private let start: [UInt8]
    private let includeUsage: Bool

    /// Prepares what all objects share.
    ///
    /// With `includeUsage` chunks carry `"usage":null`, as they do before a chunk with the counts.
    public init(_ head: ResponseHead, includeUsage: Bool = false) {
        var bytes: [UInt8] = []
        head.append(object: "text_completion", to: &bytes)
        start = bytes
        self.includeUsage = includeUsage
    }

    /// Appends a piece of text with the logprobs of its tokens.
    public func appendText(
        choice: Int,
        text: String,
        logprobs: [LogprobEntry]? = nil,
        to output: inout [UInt8]
    ) {
        output += start
        output.append(literal: "[")
        append(choice, text, logprobs, nil, to: &output)
        output.append(literal: "]")
        output.appendChunkTail(nullUsage: includeUsage, timings: nil)
    }

    /// Appends the last chunk of a choice.
    public func appendFinish(
        choice: Int,
        reason: FinishReason,
        timings: Timings? = nil,
        to output: inout [UInt8]
    ) {
        output += start
        output.append(literal: "[")
        append(choice, "", nil, reason, to: &output)
        output.append(literal: "]")
        output.appendChunkTail(nullUsage: includeUsage, timings: timings)
    }

    /// Appends the chunk without choices that ends a stream with `include_usage`.
    public func appendUsage(_ usage: Usage, timings: Timings? = nil, to output: inout [UInt8]) {
        output += start
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
        output += start
        output.append(array: choices) { output, choice in
            append(choice.index, choice.text, choice.logprobs, choice.finish, to: &output)
        }
        output.appendTail(usage: usage, timings: timings)
    }

    private func append(
        _ index: Int,
        _ text: String,
        _ logprobs: [LogprobEntry]?,
        _ finish: FinishReason?,
        to output: inout [UInt8]
    ) {
        output.append(literal: "{\"index\":")
        output.append(json: index)
        output.append(literal: ",\"text\":")
        output.append(json: text)
        output.append(literal: ",\"logprobs\":")
        LogprobEntry.appendText(logprobs, to: &output)
        output.append(literal: ",\"finish_reason\":")
        output.append(json: finish?.rawValue)
        output.append(literal: "}")
    }
}
