public import JSON

/// One message of a conversation.
public struct ChatMessage: Sendable, Equatable {
    /// Who speaks.
    public var role: Role
    /// Nil where an assistant's message has none, as beside tool calls.
    public var content: Content?
    /// The speaker's or the tool's name.
    public var name: String?
    /// The calls that an assistant made.
    public var toolCalls: [ToolCall] = []
    /// The call that a tool's message answers.
    public var toolCallID: String?
    /// The thought that came before an assistant's answer.
    public var reasoningContent: String?

    /// The roles of the API.
    public enum Role: String, Sendable, CaseIterable {
        /// Instructions.
        case system
        /// OpenAI's newer name for instructions.
        case developer
        /// The person or program that asks.
        case user
        /// The model.
        case assistant
        /// The result of a tool call.
        case tool
    }

    /// What a message says.
    public enum Content: Sendable, Equatable {
        /// One string.
        case text(String)
        /// A list of parts, in order.
        case parts([Part])
    }

    /// One part of a message.
    public enum Part: Sendable, Equatable {
        /// Text.
        case text(String)
        /// An image or a clip.
        case media(MediaPart)
    }

    /// A message of text.
    public init(role: Role, text: String) {
        self.role = role
        content = .text(text)
    }

    init(role: Role, content: Content?) {
        self.role = role
        self.content = content
    }

    /// The content as one string: text parts stand on lines of their own, no content is empty.
    public var text: String {
        switch content {
        case nil: ""
        case .text(let text)?: text
        case .parts(let parts)?:
            parts.compactMap { part in
                switch part {
                case .text(let text): text
                case .media: nil
                }
            }.joined(separator: "\n")
        }
    }

    /// Images and clips, in order.
    public var media: [MediaPart] {
        guard case .parts(let parts)? = content else { return [] }
        return parts.compactMap { part in
            if case .media(let medium) = part { medium } else { nil }
        }
    }
}

extension ChatMessage {
    /// The message as chat templates expect it: arguments of calls as objects, `content` a string.
    ///
    /// `keepParts` leaves a list of parts a list, for templates that iterate over the content; one with
    /// media stays a list in any case;
    /// `developerAsSystem` writes the role `developer`, which few templates know, as `system`.
    public func templateValue(
        keepParts: Bool = false,
        developerAsSystem: Bool = true
    ) -> JSONValue {
        var object = JSONObject()
        let shown = role == .developer && developerAsSystem ? .system : role
        object["role"] = .string(shown.rawValue)
        if case .parts(let parts)? = content, keepParts || !media.isEmpty {
            object["content"] = .array(
                parts.map { part in
                    switch part {
                    case .text(let text): ["type": "text", "text": .string(text)]
                    case .media(let medium): medium.templateValue
                    }
                }
            )
        } else {
            object["content"] = .string(text)
        }
        if let reasoningContent { object["reasoning_content"] = .string(reasoningContent) }
        if let name { object["name"] = .string(name) }
        if !toolCalls.isEmpty { object["tool_calls"] = .array(toolCalls.map(\.templateValue)) }
        if let toolCallID { object["tool_call_id"] = .string(toolCallID) }
        return .object(object)
    }
}

/// A call of a tool that an assistant made.
public struct ToolCall: Sendable, Equatable {
    /// Links the call to its result.
    public var id: String?
    /// The function's name.
    public var name: String
    /// The arguments: an object, or the string as it came where that is not an object's JSON.
    public var arguments: JSONValue

    /// Creates a call.
    public init(id: String?, name: String, arguments: JSONValue) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }

    /// The call as chat templates expect it.
    var templateValue: JSONValue {
        var object = JSONObject()
        if let id { object["id"] = .string(id) }
        object["type"] = "function"
        object["function"] = ["name": .string(name), "arguments": arguments]
        return .object(object)
    }
}
