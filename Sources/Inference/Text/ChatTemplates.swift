internal import Foundation
public import JSON

/// The chat templates of one model: where they come from, and how a conversation becomes a prompt.
public final class ChatTemplates: Sendable {
    /// One conversation to render.
    public struct Request: Sendable {
        /// Messages in the template's form: content is text, or parts where `iteratesContent` is true.
        public var messages: [JSONValue]
        /// Tool definitions; empty = none.
        public var tools: [JSONValue] = []
        /// `chat_template_kwargs`; they cannot replace what the server sets.
        public var keywords = JSONObject()
        /// Whether the prompt ends where the assistant begins to speak.
        public var addGenerationPrompt = true
        /// Whether the last message is left open, to be continued.
        public var continueFinalMessage = false
        /// Seconds since 1970 for `strftime_now`.
        public var clock = 0.0
        /// Bounds of the rendering.
        public var limits = TemplateLimits()

        /// A conversation with a generation prompt.
        public init(messages: [JSONValue]) { self.messages = messages }
    }

    /// Used where a model has no template but ChatML's markers in its vocabulary.
    private static let chatML = """
        {%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\
        {%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}
        """
    /// Used where a model has neither.
    private static let plainLines = """
        {%- for message in messages %}{{ message.role + ': ' + message.content + '\\n' }}{%- endfor %}\
        {%- if add_generation_prompt %}{{ 'assistant:' }}{%- endif %}
        """
    /// What transformers puts behind the message that is to be continued.
    private static let mark = "CONTINUE_FINAL_MESSAGE_TAG "
    private static let specialNames = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]
    /// What a client's keywords cannot set, whether or not this model has it.
    private static let fixedNames = Builtins.functions.union(specialNames).union([
        "messages", "tools", "add_generation_prompt",
    ])

    private let standard: ChatTemplate
    private let forTools: ChatTemplate?
    private let specials: JSONObject
    /// Whether the model has no template of its own.
    public let isFallback: Bool

    /// Whether the template goes through the parts of a message's content itself.
    public var iteratesContent: Bool { standard.iteratesContent }

    /// A template by its source, or the fallback.
    ///
    /// `hasToken`: whether a word is one token of the vocabulary.
    /// - Throws: `TemplateError`.
    public convenience init(
        source: String?,
        specialTokens: [String: String],
        hasToken: (String) -> Bool
    )
        throws(TemplateError)
    {
        let named = source.map { ["default": $0] } ?? [:]
        try self.init(named, specialTokens, hasToken)
    }

    /// The templates of a model folder: `chat_template.jinja` and `additional_chat_templates/`, else
    /// `chat_template.json`, else `tokenizer_config.json`, else the fallback.
    /// - Throws: `TemplateError`.
    public convenience init(folder: String, hasToken: (String) -> Bool) throws(TemplateError) {
        let config = Self.json("\(folder)/tokenizer_config.json")
        let map = Self.json("\(folder)/special_tokens_map.json")
        var specials: [String: String] = [:]
        for name in Self.specialNames {
            let value = config?[name] ?? map?[name]
            specials[name] = value?.string ?? value?["content"]?.string
        }
        try self.init(Self.sources(folder, config), specials, hasToken)
    }

    private init(
        _ sources: [String: String],
        _ specialTokens: [String: String],
        _ hasToken: (String) -> Bool
    )
        throws(TemplateError)
    {
        isFallback = sources.isEmpty
        if let source = sources["default"] ?? sources.first?.value {
            standard = try ChatTemplate(source: source)
            forTools = try sources["tool_use"].map { (source) throws(TemplateError) in
                try ChatTemplate(source: source)
            }
        } else {
            let isChatML = hasToken("<|im_start|>") && hasToken("<|im_end|>")
            standard = try ChatTemplate(source: isChatML ? Self.chatML : Self.plainLines)
            forTools = nil
        }
        specials = JSONObject(
            specialTokens.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }
        )
    }

    private static func sources(_ folder: String, _ config: JSONValue?) -> [String: String] {
        var found: [String: String] = [:]
        if let text = try? String(contentsOfFile: "\(folder)/chat_template.jinja", encoding: .utf8)
        {
            found["default"] = text
            let more = "\(folder)/additional_chat_templates"
            for name in (try? FileManager.default.contentsOfDirectory(atPath: more)) ?? []
            where name.hasSuffix(".jinja") {
                found[String(name.dropLast(6))] = try? String(
                    contentsOfFile: "\(more)/\(name)",
                    encoding: .utf8
                )
            }
            return found
        }
        let value =
            json("\(folder)/chat_template.json")?["chat_template"] ?? config?["chat_template"]
        if let text = value?.string { return ["default": text] }
        for entry in value?.array ?? [] {
            if let name = entry["name"]?.string, let text = entry["template"]?.string {
                found[name] = text
            }
        }
        return found
    }

    private static func json(_ path: String) -> JSONValue? {
        guard let data = FileManager.default.contents(atPath: path), data.count < 64 << 20 else {
            return nil
        }
        return try? JSONValue.parse(data)
    }

    /// Renders a conversation.
    /// - Throws: `TemplateError`.
    public func render(_ request: Request) throws(TemplateError) -> RenderedPrompt {
        let template = request.tools.isEmpty ? standard : forTools ?? standard
        var client = JSONObject()
        for (name, value) in request.keywords.members
        where !Self.fixedNames.contains(name) && specials[name] == nil { client[name] = value }
        if client["documents"] == nil { client["documents"] = .null }
        client["tools"] = request.tools.isEmpty ? .null : .array(request.tools)
        var trusted = specials
        trusted["add_generation_prompt"] = .bool(
            request.addGenerationPrompt && !request.continueFinalMessage
        )
        var messages = request.messages
        let final = request.continueFinalMessage ? try Self.mark(&messages) : nil
        client["messages"] = .array(messages)
        var text = try template.renderedText(
            trusted: trusted,
            client: client,
            clock: request.clock,
            limits: request.limits
        )
        if let final { text = try Self.cut(text, final) }
        return RenderedPrompt(text: text.string, segments: text.segments)
    }

    /// Puts the mark behind the last message's text; returns that text.
    private static func mark(_ messages: inout [JSONValue]) throws(TemplateError) -> String {
        guard var last = messages.last?.object, let content = last["content"] else {
            throw TemplateError(.runtime, "there is no final message to continue")
        }
        let final: String
        if let text = content.string {
            final = text
            last["content"] = .string(text + mark)
        } else if var parts = content.array,
            let place = parts.lastIndex(where: { $0["text"]?.string != nil }),
            var part = parts[place].object, let text = part["text"]?.string
        {
            final = text
            part["text"] = .string(text + mark)
            parts[place] = .object(part)
            last["content"] = .array(parts)
        } else {
            throw TemplateError(.runtime, "the final message has no text to continue")
        }
        messages[messages.count - 1] = .object(last)
        return final
    }

    /// Cuts the prompt where the mark begins.
    private static func cut(_ text: TaintedText, _ final: String) throws(TemplateError)
        -> TaintedText
    {
        let whole = TaintedText(mark)
        guard let place = text.places(of: whole.stripped()).last else {
            throw TemplateError(.runtime, "the chat template drops the end of the final message")
        }
        let isWhole =
            place + whole.count <= text.count && text[place..<place + whole.count] == whole
        let kept = text[0..<place]
        let cut = isWhole ? kept : kept.stripped(left: false)
        guard cut.contains(TaintedText(final).stripped()) else {
            throw TemplateError(.runtime, "the chat template drops the final message")
        }
        return cut
    }
}
