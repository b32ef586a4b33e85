import JSON

extension ChatMessage {
    /// The conversation of a request: at least one message.
    static func list(_ fields: Fields, _ limits: RequestLimits) throws(APIError) -> [ChatMessage] {
        guard let elements = try fields.array("messages", maxCount: limits.messages) else {
            throw .missing(fields.param("messages"))
        }
        guard !elements.isEmpty else {
            throw fields.invalid("messages", "must have at least one message.")
        }
        var messages: [ChatMessage] = []
        messages.reserveCapacity(elements.count)
        for (place, element) in elements.enumerated() {
            let path = "\(fields.param("messages"))[\(place)]"
            guard case .object(let object) = element else {
                throw .invalidType(path, expected: "an object", got: element)
            }
            messages.append(try ChatMessage(Fields(object, at: path), limits))
        }
        let media = messages.reduce(0) { $0 + $1.media.count }
        guard media <= limits.media else {
            throw fields.invalid(
                "messages",
                "\(media) images and clips, at most \(limits.media) are allowed."
            )
        }
        return messages
    }

    private init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        guard let spelled = try fields.string("role") else { throw .missing(fields.param("role")) }
        guard let role = Role(rawValue: spelled) else {
            throw fields.invalid(
                "role",
                "'\(APIError.quote(spelled))' is not one of "
                    + "\(Role.allCases.map(\.rawValue).joined(separator: ", "))."
            )
        }
        self.init(role: role, content: try Self.content(fields, of: role, limits))
        name = try fields.string("name", maxBytes: 256)
        toolCallID = try fields.string("tool_call_id", maxBytes: 256)
        guard role == .assistant else { return }
        try fields.refuse(["audio"], because: "this model takes text only.")
        let newer = try fields.string("reasoning")
        reasoningContent = try fields.string("reasoning_content") ?? newer
        toolCalls = try ToolCall.list(fields, limits)
    }

    private static func content(_ fields: Fields, of role: Role, _ limits: RequestLimits)
        throws(APIError) -> Content?
    {
        switch fields.value("content") {
        case .string(let text)?: return .text(text)
        case .array(let elements)?:
            guard !elements.isEmpty else {
                throw fields.invalid("content", "must have at least one part.")
            }
            guard elements.count <= limits.contentParts else {
                throw fields.invalid(
                    "content",
                    "\(elements.count) parts, at most \(limits.contentParts) are allowed."
                )
            }
            var parts: [Part] = []
            parts.reserveCapacity(elements.count)
            for (place, element) in elements.enumerated() {
                let path = "\(fields.param("content"))[\(place)]"
                guard case .object(let object) = element else {
                    throw .invalidType(path, expected: "an object", got: element)
                }
                parts.append(try part(Fields(object, at: path), limits))
            }
            return .parts(parts)
        case nil where role == .assistant: return nil
        case nil: throw .missing(fields.param("content"))
        case let other?:
            throw fields.wrongType("content", "a string or an array of parts", other)
        }
    }

    private static func part(_ fields: Fields, _ limits: RequestLimits) throws(APIError) -> Part {
        guard let kind = try fields.string("type") else { throw .missing(fields.param("type")) }
        if let medium = try MediaPart(type: kind, fields, limits) { return .media(medium) }
        switch kind {
        case "text", "refusal":
            guard let text = try fields.string(kind) else { throw .missing(fields.param(kind)) }
            return .text(text)
        case "audio", "audio_url", "input_audio", "file", "input_file":
            throw .unsupportedValue(
                fields.param("type"),
                "text, images and video are taken, no '\(kind)' parts."
            )
        default:
            throw fields.invalid("type", "'\(APIError.quote(kind))' is not a kind of part.")
        }
    }
}

extension ToolCall {
    fileprivate static func list(_ fields: Fields, _ limits: RequestLimits) throws(APIError)
        -> [ToolCall]
    {
        let elements = try fields.array("tool_calls", maxCount: limits.tools) ?? []
        var calls: [ToolCall] = []
        for (place, element) in elements.enumerated() {
            let path = "\(fields.param("tool_calls"))[\(place)]"
            guard case .object(let object) = element else {
                throw .invalidType(path, expected: "an object", got: element)
            }
            calls.append(try ToolCall(Fields(object, at: path)))
        }
        return calls
    }

    private init(_ fields: Fields) throws(APIError) {
        if let kind = try fields.string("type"), kind != "function" {
            throw .unsupportedValue(fields.param("type"), "only 'function' calls are known.")
        }
        guard let inner = try fields.object("function") else {
            throw .missing(fields.param("function"))
        }
        let function = Fields(inner, at: fields.param("function"))
        guard let name = try function.string("name", maxBytes: 256) else {
            throw .missing(function.param("name"))
        }
        self.init(
            id: try fields.string("id", maxBytes: 256),
            name: name,
            arguments: try Self.arguments(function)
        )
    }

    /// The arguments: OpenAI spells them as a string of JSON, templates want the object in it.
    ///
    /// A string that a model got wrong goes through as it is: the client only repeats it.
    private static func arguments(_ function: Fields) throws(APIError) -> JSONValue {
        switch function.value("arguments") {
        case nil: return .object(JSONObject())
        case .object(let object)?: return .object(object)
        case .string(let text)?:
            guard let parsed = try? JSONValue.parse(text), parsed.object != nil else {
                return .string(text)
            }
            return parsed
        case let other?:
            throw function.wrongType("arguments", "an object or a string of JSON", other)
        }
    }
}
