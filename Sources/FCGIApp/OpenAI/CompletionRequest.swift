public import JSON

/// A request to POST /v1/completions, checked in every field.
public struct CompletionRequest: Sendable, Equatable {
    /// What it shares with chat completions; `maxTokens` may be 0 with `echo`.
    public var options: GenerationOptions
    /// The prompts, at least one; each gets `n` choices.
    public var prompts: [Prompt]
    /// Whether the answer starts with the prompt.
    public var echo: Bool
    /// Nil: no logprobs.
    ///
    /// 0…20: the chosen token's, with so many of the most probable beside it.
    public var logprobs: Int?

    /// What a completion continues.
    public enum Prompt: Sendable, Equatable {
        /// Text, possibly empty.
        case text(String)
        /// Token ids, at least one, none negative.
        case tokens([Int32])
    }

    /// Reads a body; unknown fields are ignored.
    /// - Throws: `APIError`, a 400 that names the field.
    public static func decode(_ body: JSONValue, limits: RequestLimits = RequestLimits())
        throws(APIError) -> CompletionRequest
    { try CompletionRequest(Fields(body: body), limits) }

    private init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        prompts = try Prompt.list(fields, limits)
        echo = try fields.bool("echo") ?? false
        options = try GenerationOptions(fields, limits: limits, minMaxTokens: echo ? 0 : 1)
        guard prompts.count * (options.n ?? 1) <= limits.totalChoices else {
            throw fields.invalid("n", "more than \(limits.totalChoices) choices in all.")
        }
        logprobs = try fields.int("logprobs", 0...limits.topLogprobs)
        if echo, logprobs != nil {
            throw .unsupportedValue("logprobs", "not served together with 'echo' yet.")
        }
        if let best = try fields.int("best_of", 1...limits.choices), best != options.n ?? 1 {
            throw .unsupportedValue("best_of", "must equal 'n'.")
        }
        if let suffix = try fields.string("suffix"), !suffix.isEmpty {
            throw .unsupportedValue("suffix", "this model cannot fill in.")
        }
        try fields.refuse(["response_format"], because: "constrained output is not served yet.")
    }

    /// Checks what only the model can say: token ids and `top_k` against its vocabulary.
    public func check(vocabularySize: Int) throws(APIError) {
        try options.check(vocabularySize: vocabularySize)
        for case .tokens(let ids) in prompts {
            try TokenIDs.check(ids, param: "prompt", vocabularySize: vocabularySize)
        }
    }
}

extension CompletionRequest.Prompt {
    /// A string, an array of token ids, or an array of either.
    static func list(_ fields: Fields, _ limits: RequestLimits) throws(APIError) -> [Self] {
        let elements: [JSONValue]
        switch fields.value("prompt") {
        case nil: throw .missing(fields.param("prompt"))
        case .string(let text)?: return [.text(text)]
        case .array(let array)?: elements = array
        case let other?: throw fields.wrongType("prompt", "a string or an array", other)
        }
        guard let first = elements.first else {
            throw fields.invalid("prompt", "must not be empty.")
        }
        if case .number = first {
            return [.tokens(try TokenIDs.read(elements, param: fields.param("prompt")))]
        }
        guard elements.count <= limits.prompts else {
            throw fields.invalid(
                "prompt",
                "\(elements.count) prompts, at most \(limits.prompts) are allowed."
            )
        }
        var prompts: [Self] = []
        for (place, element) in elements.enumerated() {
            let path = "\(fields.param("prompt"))[\(place)]"
            switch element {
            case .string(let text): prompts.append(.text(text))
            case .array(let ids) where !ids.isEmpty:
                prompts.append(.tokens(try TokenIDs.read(ids, param: path)))
            case .array: throw .invalidValue(path, "must not be empty.")
            default:
                throw .invalidType(
                    path,
                    expected: "a string or an array of token ids",
                    got: element
                )
            }
        }
        return prompts
    }
}

/// Token ids that a client sends.
enum TokenIDs {
    static func read(_ elements: [JSONValue], param: String) throws(APIError) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(elements.count)
        for (place, element) in elements.enumerated() {
            guard case .number(let number) = element else {
                throw .invalidType("\(param)[\(place)]", expected: "a token id", got: element)
            }
            guard let id = number.int.flatMap(Int32.init(exactly:)), id >= 0 else {
                throw .invalidValue("\(param)[\(place)]", "not a token id.")
            }
            ids.append(id)
        }
        return ids
    }

    static func check(_ ids: [Int32], param: String, vocabularySize: Int) throws(APIError) {
        guard ids.allSatisfy({ Int($0) < vocabularySize }) else {
            throw .invalidValue(param, "a token id is outside the vocabulary of \(vocabularySize).")
        }
    }
}
