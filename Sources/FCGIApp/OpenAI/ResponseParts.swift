/// What every object of one answer repeats.
public struct ResponseHead: Sendable, Equatable {
    /// `chatcmpl-…`, `cmpl-…`, or the client's session id.
    public var id: String
    /// Unix time in seconds.
    public var created: Int
    /// The model's id as the client may send it again.
    public var model: String
    /// Model revision, dtype and engine build.
    public var systemFingerprint: String?

    /// Creates a head.
    public init(id: String, created: Int, model: String, systemFingerprint: String?) {
        self.id = id
        self.created = created
        self.model = model
        self.systemFingerprint = systemFingerprint
    }

    /// Appends `{"id":…` up to and including `"choices":`.
    func append(object: StaticString, to output: inout [UInt8]) {
        output.append(literal: "{\"id\":")
        output.append(json: id)
        output.append(literal: ",\"object\":\"")
        output.append(literal: object)
        output.append(literal: "\",\"created\":")
        output.append(json: created)
        output.append(literal: ",\"model\":")
        output.append(json: model)
        output.append(literal: ",\"system_fingerprint\":")
        output.append(json: systemFingerprint)
        output.append(literal: ",\"choices\":")
    }
}

/// Why a choice ended, as OpenAI spells it.
public enum FinishReason: String, Sendable {
    /// The model ended its answer, or a stop string came.
    case stop
    /// `max_tokens` or the context's end was reached.
    case length
    /// The model calls tools.
    case toolCalls = "tool_calls"
}

/// Tokens that were counted.
public struct Usage: Sendable, Equatable {
    /// Tokens of the prompt, once for all choices.
    public var promptTokens: Int
    /// Tokens of all choices together.
    public var completionTokens: Int
    /// Tokens of the prompt that needed no prefill.
    public var cachedTokens: Int
    /// Tokens of thoughts, part of the completion's.
    public var reasoningTokens: Int
    /// Images and clips of the prompt, as they were used.
    public var media: [MediaUsage] = []

    /// Creates counts.
    public init(
        promptTokens: Int,
        completionTokens: Int,
        cachedTokens: Int = 0,
        reasoningTokens: Int = 0
    ) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
        self.reasoningTokens = reasoningTokens
    }

    func append(to output: inout [UInt8]) {
        output.append(literal: "{\"prompt_tokens\":")
        output.append(json: promptTokens)
        output.append(literal: ",\"completion_tokens\":")
        output.append(json: completionTokens)
        output.append(literal: ",\"total_tokens\":")
        output.append(json: promptTokens + completionTokens)
        output.append(literal: ",\"prompt_tokens_details\":{\"cached_tokens\":")
        output.append(json: cachedTokens)
        if !media.isEmpty {
            output.append(literal: ",\"image_tokens\":")
            output.append(json: tokens(of: .image))
            output.append(literal: ",\"video_tokens\":")
            output.append(json: tokens(of: .video))
        }
        output.append(literal: "},\"completion_tokens_details\":{\"reasoning_tokens\":")
        output.append(json: reasoningTokens)
        output.append(literal: "}")
        if !media.isEmpty {
            output.append(literal: ",\"media\":")
            output.append(array: media) { $1.append(to: &$0) }
        }
        output.append(literal: "}")
    }

    private func tokens(of kind: MediaPart.Kind) -> Int {
        media.reduce(0) { $0 + ($1.kind == kind ? $1.tokens : 0) }
    }
}

/// What became of one image or clip.
public struct MediaUsage: Sendable, Equatable {
    /// Image or clip.
    public var kind: MediaPart.Kind
    /// Frames that the model saw.
    public var frames: Int
    /// Columns of pixels that the model saw.
    public var width: Int
    /// Rows of pixels that the model saw.
    public var height: Int
    /// Tokens of the prompt that stand for it.
    public var tokens: Int
    /// Frames a second among those of a clip.
    public var fps: Double?

    /// Describes a medium.
    public init(
        kind: MediaPart.Kind,
        frames: Int,
        width: Int,
        height: Int,
        tokens: Int,
        fps: Double?
    ) {
        self.kind = kind
        self.frames = frames
        self.width = width
        self.height = height
        self.tokens = tokens
        self.fps = fps
    }

    func append(to output: inout [UInt8]) {
        output.append(literal: "{\"type\":")
        output.append(json: kind.rawValue)
        for (name, value): (StaticString, Int) in [
            (",\"frames\":", frames), (",\"width\":", width), (",\"height\":", height),
            (",\"tokens\":", tokens),
        ] {
            output.append(literal: name)
            output.append(json: value)
        }
        if let fps {
            output.append(literal: ",\"fps\":")
            output.append(json: fps)
        }
        output.append(literal: "}")
    }
}

/// Where the time of a request went, in seconds; shown with `timings: true`.
public struct Timings: Sendable, Equatable {
    /// Fetching and decoding images and clips; nil where there are none.
    public var media: Double?
    /// Waiting for the engine's attention.
    public var queue: Double
    /// Waiting for the model to load.
    public var load: Double
    /// From the engine's start on the prompt to the first token.
    public var prefill: Double
    /// From the first token to the last.
    public var decode: Double
    /// Tokens of the prompt that needed no prefill.
    public var cachedTokens: Int

    /// Creates timings.
    public init(queue: Double, load: Double, prefill: Double, decode: Double, cachedTokens: Int = 0)
    {
        self.queue = queue
        self.load = load
        self.prefill = prefill
        self.decode = decode
        self.cachedTokens = cachedTokens
    }

    func append(to output: inout [UInt8]) {
        output.append(literal: "{")
        if let media {
            output.append(literal: "\"media_seconds\":")
            output.append(json: media)
            output.append(literal: ",")
        }
        output.append(literal: "\"queue_seconds\":")
        output.append(json: queue)
        output.append(literal: ",\"load_seconds\":")
        output.append(json: load)
        output.append(literal: ",\"prefill_seconds\":")
        output.append(json: prefill)
        output.append(literal: ",\"decode_seconds\":")
        output.append(json: decode)
        output.append(literal: ",\"cached_tokens\":")
        output.append(json: cachedTokens)
        output.append(literal: "}")
    }
}

/// A choice as an unstreamed answer shows it.
public struct AnsweredChoice: Sendable, Equatable {
    /// Number of the choice.
    public var index: Int
    /// The whole text; with `echo`, after the prompt's.
    public var text: String
    /// Why it ended.
    public var finish: FinishReason
    /// An entry for each token; nil unless asked for.
    public var logprobs: [LogprobEntry]?

    /// Creates a choice.
    public init(index: Int, text: String, finish: FinishReason, logprobs: [LogprobEntry]? = nil) {
        self.index = index
        self.text = text
        self.finish = finish
        self.logprobs = logprobs
    }
}
