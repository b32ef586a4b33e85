// What the wire accepts. The API's own limits are narrower; these keep a wrong front from hurting an
// engine and a wrong engine from hurting a front. Both sides check.

/// Bounds of the wire.
package enum WireRange {
    static let token = 0...Int(Int32.max)
    static let count = 0...(1 << 40)
    static let prompt = 1...1_000_000
    /// Prompt and earlier tokens of a submission together: its JSON then fits a frame.
    static let submission = 1_400_000
    static let choices = 1...64
    static let choiceIndex = 0...65_535
    static let maxTokens = 1...Int(Int32.max)
    static let biasEntries = 1024
    static let stopTokens = 1024
    static let seconds = 0...(366 * 86_400)
    static let media = 1024
    static let frames = 1...65_536
    static let side = 1...65_536
    static let secondsPerGrid = 0.0...1e6
    static let shortText = 512
    static let path = 4096
    static let message = 4096

    static func clampSeconds(_ value: Int) -> Int {
        min(max(value, seconds.lowerBound), seconds.upperBound)
    }
}

extension GenerationRequest {
    /// Checks every number against the wire's bounds.
    /// - Throws: `ProtocolError` that names the first field out of range.
    public func checkRanges() throws(ProtocolError) {
        guard WireRange.prompt.contains(prompt.count) else { throw ProtocolError("prompt length") }
        guard prompt.allSatisfy({ $0 >= 0 }) else { throw ProtocolError("prompt token") }
        guard WireRange.choices.contains(choices.count) else { throw ProtocolError("choices") }
        guard Set(choices.map(\.index)).count == choices.count,
            choices.allSatisfy({ WireRange.choiceIndex.contains($0.index) })
        else { throw ProtocolError("choice index") }
        guard
            choices.reduce(prompt.count, { $0 + $1.generated.count }) <= WireRange.submission
        else { throw ProtocolError("submission length") }
        guard WireRange.maxTokens.contains(stop.maxTokens) else { throw ProtocolError("maxTokens") }
        guard (0...stop.maxTokens).contains(stop.minTokens) else {
            throw ProtocolError("minTokens")
        }
        guard
            choices.allSatisfy({
                $0.generated.count < stop.maxTokens && $0.generated.allSatisfy { $0 >= 0 }
            })
        else { throw ProtocolError("generated tokens") }
        guard stop.stopTokens.count <= WireRange.stopTokens, stop.stopTokens.allSatisfy({ $0 >= 0 })
        else { throw ProtocolError("stopTokens") }
        guard logprobs.map({ (0...EngineStep.maxTop).contains($0) }) ?? true else {
            throw ProtocolError("logprobs")
        }
        guard media.count <= WireRange.media else { throw ProtocolError("number of media") }
        var end = 0
        for medium in media { try medium.checkRanges(after: &end, prompt: prompt.count) }
        try sampling.checkRanges()
    }
}

extension PromptMedia {
    /// `end`: where the placeholders of the medium before end, then where this one's do.
    func checkRanges(after end: inout Int, prompt: Int) throws(ProtocolError) {
        guard WireRange.frames.contains(frames), kind == .video || frames == 1,
            WireRange.side.contains(width), WireRange.side.contains(height),
            // At most 2^48: no overflow.
            frames * width * height * 3 == pixels.byteCount
        else { throw ProtocolError("size of a medium") }
        guard identity.count == 32 else { throw ProtocolError("identity") }
        guard secondsPerGrid.map(WireRange.secondsPerGrid.contains) ?? true else {
            throw ProtocolError("secondsPerGrid")
        }
        guard !spans.isEmpty, spans.count <= frames else { throw ProtocolError("spans") }
        for span in spans {
            guard !span.isEmpty, span.lowerBound >= end, span.upperBound <= prompt else {
                throw ProtocolError("spans")
            }
            end = span.upperBound
        }
    }
}

extension SamplingParameters {
    func checkRanges() throws(ProtocolError) {
        // A comparison with NaN is false, so each of these also refuses it.
        guard temperature >= 0, temperature <= 100 else { throw ProtocolError("temperature") }
        guard WireRange.token.contains(topK) else { throw ProtocolError("topK") }
        guard topP > 0, topP <= 1 else { throw ProtocolError("topP") }
        guard minP >= 0, minP <= 1 else { throw ProtocolError("minP") }
        guard abs(presencePenalty) <= 100 else { throw ProtocolError("presencePenalty") }
        guard abs(frequencyPenalty) <= 100 else { throw ProtocolError("frequencyPenalty") }
        guard repetitionPenalty > 0, repetitionPenalty <= 100 else {
            throw ProtocolError("repetitionPenalty")
        }
        guard logitBias.count <= WireRange.biasEntries,
            logitBias.allSatisfy({ $0.key >= 0 && abs($0.value) <= 1000 })
        else { throw ProtocolError("logitBias") }
    }
}
