public import JSON

/// A request to POST /v1/tokenize.
public struct TokenizeRequest: Sendable, Equatable {
    /// The model's id or alias.
    public var model: String?
    /// What to tokenise.
    public var input: Input
    /// Whether the tokeniser adds its own tokens, such as a beginning-of-sequence.
    ///
    /// Nil leaves it to the input: yes for text, no for conversations, whose template has them.
    public var addSpecialTokens: Bool?

    /// What to tokenise.
    public enum Input: Sendable, Equatable {
        /// Text as it stands.
        case text(String)
        /// A conversation, rendered by the model's template first.
        case conversation(Conversation)
    }

    /// Reads a body; unknown fields are ignored.
    /// - Throws: `APIError`, a 400 that names the field.
    public static func decode(_ body: JSONValue, limits: RequestLimits = RequestLimits())
        throws(APIError) -> TokenizeRequest
    { try TokenizeRequest(Fields(body: body), limits) }

    private init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        model = try fields.string("model", maxBytes: 512)
        addSpecialTokens = try fields.bool("add_special_tokens")
        if fields.value("messages") != nil {
            guard fields.value("prompt") == nil else {
                throw fields.invalid("prompt", "give 'prompt' or 'messages', not both.")
            }
            input = .conversation(try Conversation(fields, limits))
        } else if let text = try fields.string("prompt") {
            input = .text(text)
        } else {
            throw .missing("prompt")
        }
    }
}

/// A request to POST /v1/detokenize.
public struct DetokenizeRequest: Sendable, Equatable {
    /// The model's id or alias.
    public var model: String?
    /// Token ids, none negative.
    public var tokens: [Int32]

    /// Reads a body; unknown fields are ignored.
    /// - Throws: `APIError`, a 400 that names the field.
    public static func decode(_ body: JSONValue) throws(APIError) -> DetokenizeRequest {
        try DetokenizeRequest(Fields(body: body))
    }

    private init(_ fields: Fields) throws(APIError) {
        model = try fields.string("model", maxBytes: 512)
        guard let elements = try fields.array("tokens", maxCount: .max) else {
            throw .missing("tokens")
        }
        tokens = try TokenIDs.read(elements, param: "tokens")
    }

    /// Checks the ids against the model's vocabulary.
    public func check(vocabularySize: Int) throws(APIError) {
        try TokenIDs.check(tokens, param: "tokens", vocabularySize: vocabularySize)
    }
}
