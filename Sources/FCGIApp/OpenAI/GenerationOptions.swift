import Glibc
public import JSON

/// The fields that chat and text completions share; nil where the request leaves one to the server,
/// so that the model's and the global settings can answer for it.
public struct GenerationOptions: Sendable, Equatable {
    /// The model's id or alias.
    public var model: String?
    /// Most tokens of an answer; `max_completion_tokens` wins over `max_tokens`.
    public var maxTokens: Int?
    /// Least tokens of an answer.
    public var minTokens: Int?
    /// 0…2; 0 is greedy.
    public var temperature: Double?
    /// Above 0, at most 1; 1 is off.
    public var topP: Double?
    /// 0 is off (-1 is read as 0).
    public var topK: Int?
    /// 0…1; 0 is off.
    public var minP: Double?
    /// -2…2.
    public var presencePenalty: Double?
    /// -2…2.
    public var frequencyPenalty: Double?
    /// Above 0, at most 10; 1 is off.
    public var repetitionPenalty: Double?
    /// Token ids to -100…100; absent where empty.
    public var logitBias: [Int32: Double]?
    /// How many answers.
    public var n: Int?
    /// Any 64-bit integer.
    public var seed: Int64?
    /// Stop strings, none of them empty.
    public var stop: [String]?
    /// Whether the answer is streamed.
    public var stream = false
    /// Whether a stream ends with a chunk that carries `usage`.
    public var includeUsage = false
    /// Whether the end-of-sequence token is drawn like any other.
    public var ignoreEOS: Bool?
    /// Whether the answer carries `timings`.
    public var timings = false
    /// Name under which the stream can be resumed.
    public var sessionID: String?
    /// What becomes of the engine after the request.
    public var keepAlive: KeepAlive?
    /// The caller's name for its user; not interpreted.
    public var user: String?
    /// The caller's notes; not interpreted.
    public var metadata: JSONObject?

    /// How long the engine stays up after its last request.
    public enum KeepAlive: Sendable, Equatable {
        /// `-1`: until it is unloaded.
        case forever
        /// So many seconds; 0 unloads at once.
        case seconds(Int)
    }

    init(_ fields: Fields, limits: RequestLimits, minMaxTokens: Int = 1) throws(APIError) {
        try Self.refuseUnserved(fields)
        model = try fields.string("model", maxBytes: 512)
        if model == "" { throw fields.invalid("model", "must not be empty.") }
        let maxCount = Fields.maxCount
        let older = try fields.int("max_tokens", minMaxTokens...maxCount)
        maxTokens = try fields.int("max_completion_tokens", minMaxTokens...maxCount) ?? older
        minTokens = try fields.int("min_tokens", 0...maxCount)
        if let minTokens, let maxTokens, minTokens > maxTokens {
            throw fields.invalid("min_tokens", "larger than max_tokens (\(maxTokens)).")
        }
        temperature = try fields.number("temperature", 0...2)
        topP = try fields.number("top_p", 0...1, aboveLower: true)
        topK = try fields.int("top_k", -1...maxCount).map { max(0, $0) }
        minP = try fields.number("min_p", 0...1)
        presencePenalty = try fields.number("presence_penalty", -2...2)
        frequencyPenalty = try fields.number("frequency_penalty", -2...2)
        repetitionPenalty = try fields.number("repetition_penalty", 0...10, aboveLower: true)
        logitBias = try Self.logitBias(fields, limits)
        n = try fields.int("n", 1...limits.choices)
        seed = try Self.seed(fields)
        stop = try Self.stop(fields, limits)
        stream = try fields.bool("stream") ?? false
        includeUsage = try Self.includeUsage(fields, stream: stream)
        ignoreEOS = try fields.bool("ignore_eos")
        timings = try fields.bool("timings") ?? false
        sessionID = try Self.sessionID(fields)
        keepAlive = try Self.keepAlive(fields)
        user = try fields.string("user", maxBytes: 4096)
        metadata = try fields.object("metadata")
    }

    /// Checks what only the model can say: token ids and `top_k` against its vocabulary.
    public func check(vocabularySize: Int) throws(APIError) {
        if let topK, topK > vocabularySize {
            throw .invalidValue("top_k", "must be at most the vocabulary's \(vocabularySize).")
        }
        if let logitBias, logitBias.keys.contains(where: { Int($0) >= vocabularySize }) {
            throw .invalidValue(
                "logit_bias",
                "a token id is outside the vocabulary of \(vocabularySize)."
            )
        }
    }
}

extension GenerationOptions {
    private static func refuseUnserved(_ fields: Fields) throws(APIError) {
        try fields.refuse(
            ["structured_outputs", "regex", "grammar", "guided_json", "guided_regex"],
            because: "constrained output is not served yet."
        )
        try fields.refuse(
            ["prompt_embeds", "input_embeds"],
            because: "embeddings are not taken as input."
        )
    }

    private static func seed(_ fields: Fields) throws(APIError) -> Int64? {
        guard let value = fields.value("seed") else { return nil }
        guard case .number(let number) = value, number.isInteger else {
            throw fields.wrongType("seed", "an integer without fraction or exponent", value)
        }
        guard let seed = Int64(number.text) else {
            throw fields.invalid("seed", "does not fit into 64 bits.")
        }
        return seed
    }

    private static func stop(_ fields: Fields, _ limits: RequestLimits) throws(APIError)
        -> [String]?
    {
        let elements: [JSONValue]
        switch fields.value("stop") {
        case nil: return nil
        case .string(let text)?: elements = [.string(text)]
        case .array(let array)?: elements = array
        case let other?: throw fields.wrongType("stop", "a string or an array of strings", other)
        }
        guard elements.count <= limits.stopStrings else {
            throw fields.invalid(
                "stop",
                "\(elements.count) strings, at most \(limits.stopStrings) are allowed."
            )
        }
        var strings: [String] = []
        for element in elements {
            guard let text = element.string else {
                throw fields.wrongType("stop", "strings in the array", element)
            }
            guard !text.isEmpty else { throw fields.invalid("stop", "a string is empty.") }
            guard text.utf8.count <= limits.stopBytes else {
                throw fields.invalid("stop", "a string is longer than \(limits.stopBytes) bytes.")
            }
            strings.append(text)
        }
        return strings
    }

    private static func logitBias(_ fields: Fields, _ limits: RequestLimits) throws(APIError)
        -> [Int32: Double]?
    {
        guard let object = try fields.object("logit_bias"), !object.isEmpty else { return nil }
        guard object.count <= limits.logitBias else {
            throw fields.invalid(
                "logit_bias",
                "\(object.count) entries, at most \(limits.logitBias) are allowed."
            )
        }
        var biases: [Int32: Double] = [:]
        for (key, value) in object.members {
            guard key.utf8.allSatisfy({ $0 &- 0x30 < 10 }), let token = Int32(key) else {
                throw fields.invalid("logit_bias", "'\(APIError.quote(key))' is not a token id.")
            }
            guard let bias = value.double else {
                throw fields.wrongType("logit_bias", "numbers as values", value)
            }
            guard bias.isFinite, bias.magnitude <= 100 else {
                throw fields.invalid("logit_bias", "a bias is outside -100…100.")
            }
            biases[token] = bias
        }
        return biases
    }

    private static func includeUsage(_ fields: Fields, stream: Bool) throws(APIError) -> Bool {
        guard let object = try fields.object("stream_options") else { return false }
        guard stream else {
            throw fields.invalid("stream_options", "only allowed when 'stream' is true.")
        }
        return try Fields(object, at: "stream_options").bool("include_usage") ?? false
    }

    private static func sessionID(_ fields: Fields) throws(APIError) -> String? {
        guard let text = try fields.string("session_id") else { return nil }
        guard isSessionID(text) else {
            throw fields.invalid("session_id", "must match [A-Za-z0-9._-]{1,128}.")
        }
        return text
    }

    /// Whether a text can name a session: `[A-Za-z0-9._-]{1,128}`.
    public static func isSessionID(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
                default: false
                }
            }
    }

    private static func keepAlive(_ fields: Fields) throws(APIError) -> KeepAlive? {
        guard let seconds = try fields.number("keep_alive", -1...1e9) else { return nil }
        if seconds == -1 { return .forever }
        guard seconds >= 0, let whole = Int(exactly: seconds.rounded(.up)) else {
            throw fields.invalid("keep_alive", "must be seconds, 0, or -1 for ever.")
        }
        return .seconds(whole)
    }
}
