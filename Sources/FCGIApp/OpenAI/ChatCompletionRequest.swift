public import JSON

/// A request to POST /v1/chat/completions, checked in every field.
public struct ChatCompletionRequest: Sendable, Equatable {
    /// What it shares with text completions.
    public var options: GenerationOptions
    /// The conversation and what the chat template makes of it.
    public var conversation: Conversation
    /// Nil: no logprobs.
    ///
    /// 0…20: the chosen token's, with so many of the most probable beside it.
    public var logprobs: Int?
    /// Whether several calls may stand in one answer.
    public var parallelToolCalls: Bool?

    /// Reads a body; unknown fields are ignored.
    /// - Throws: `APIError`, a 400 that names the field.
    public static func decode(_ body: JSONValue, limits: RequestLimits = RequestLimits())
        throws(APIError) -> ChatCompletionRequest
    { try ChatCompletionRequest(Fields(body: body), limits) }

    private init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        conversation = try Conversation(fields, limits)
        options = try GenerationOptions(fields, limits: limits)
        logprobs = try Self.logprobs(fields, limits)
        parallelToolCalls = try fields.bool("parallel_tool_calls")
        try Self.checkFormat(fields)
    }

    private static func logprobs(_ fields: Fields, _ limits: RequestLimits) throws(APIError) -> Int?
    {
        let wanted = try fields.bool("logprobs") ?? false
        let top = try fields.int("top_logprobs", 0...limits.topLogprobs)
        if let top, top > 0, !wanted {
            throw fields.invalid("top_logprobs", "needs 'logprobs' to be true.")
        }
        return wanted ? top ?? 0 : nil
    }

    private static func checkFormat(_ fields: Fields) throws(APIError) {
        if let format = try fields.object("response_format") {
            let inner = Fields(format, at: "response_format")
            guard let kind = try inner.string("type") else { throw .missing(inner.param("type")) }
            switch kind {
            case "text": break
            case "json_object", "json_schema":
                throw .unsupportedValue(inner.param("type"), "'\(kind)' is not served yet.")
            default:
                throw inner.invalid("type", "'\(APIError.quote(kind))' is not a format.")
            }
        }
        let modalities = try fields.array("modalities", maxCount: 8) ?? []
        guard modalities.allSatisfy({ $0.string == "text" }) else {
            throw .unsupportedValue("modalities", "only 'text' is served.")
        }
        try fields.refuse(["audio"], because: "this model answers in text only.")
    }
}

/// A conversation with all that a chat template is given; also what POST /v1/tokenize takes.
public struct Conversation: Sendable, Equatable {
    /// At least one message.
    public var messages: [ChatMessage]
    /// Definitions of tools, as they came; empty with `tool_choice` `none`.
    public var tools: [JSONValue]
    /// The caller's names for the template, all of them on the list of `RequestLimits`.
    public var templateKeywords: JSONObject
    /// How hard the model should think.
    public var reasoningEffort: String?
    /// Whether the prompt ends with the assistant's opening; nil leaves it to the kind of request.
    public var addGenerationPrompt: Bool?
    /// Whether the answer goes on within the last message.
    public var continueFinalMessage: Bool
    /// What the request asks of all its media (`mm_processor_kwargs`); a part's own wishes go before.
    public var mediaWishes = MediaWishes()

    /// Images and clips, in order.
    public var media: [MediaPart] { messages.flatMap(\.media) }

    init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        try fields.refuse(["chat_template"], because: "templates come with the model only.")
        messages = try ChatMessage.list(fields, limits)
        let definitions = try Tools.definitions(fields, limits)
        tools = try Tools.areOffered(fields, tools: definitions) ? definitions : []
        templateKeywords = try Self.keywords(fields, limits)
        reasoningEffort = try Self.effort(fields)
        if let wishes = try fields.object("mm_processor_kwargs") {
            mediaWishes = try MediaWishes(
                Fields(wishes, at: fields.param("mm_processor_kwargs")),
                limits
            )
        }
        addGenerationPrompt = try fields.bool("add_generation_prompt")
        continueFinalMessage = try fields.bool("continue_final_message") ?? false
        if continueFinalMessage, addGenerationPrompt == true {
            throw fields.invalid(
                "continue_final_message",
                "excludes 'add_generation_prompt'."
            )
        }
    }

    private static func keywords(_ fields: Fields, _ limits: RequestLimits) throws(APIError)
        -> JSONObject
    {
        let field = "chat_template_kwargs"
        guard let object = try fields.object(field) else { return JSONObject() }
        for name in object.keys where !limits.templateKeywords.contains(name) {
            throw .unsupportedValue(
                fields.param(field),
                "'\(APIError.quote(name))' cannot be set by a request."
            )
        }
        guard JSONValue.object(object).bytes().count <= limits.templateKeywordBytes else {
            throw fields.invalid(field, "longer than \(limits.templateKeywordBytes) bytes.")
        }
        return object
    }

    private static func effort(_ fields: Fields) throws(APIError) -> String? {
        guard let text = try fields.string("reasoning_effort") else { return nil }
        let known = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
        guard known.contains(text) else {
            throw fields.invalid("reasoning_effort", "not one of \(known.joined(separator: ", ")).")
        }
        return text
    }
}
