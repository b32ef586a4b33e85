public import JSON
public struct TemplateLimits: Sendable { public var seconds = 1.0; public init() {} }
public final class ChatTemplates: Sendable {
    public struct Request: Sendable {
        public var messages: [JSONValue]
        public var tools: [JSONValue] = []
        public var keywords = JSONObject()
        public var addGenerationPrompt = true
        public var continueFinalMessage = false
        public var clock: Double?
        public var limits = TemplateLimits()
        public init(messages: [JSONValue]) { self.messages = messages }
    }
    public init(source: String?, specialTokens: [String: String], hasToken: (String) -> Bool) throws(TemplateError) {}
    public init(folder: String, hasToken: (String) -> Bool) throws(TemplateError) {}
    public var iteratesContent: Bool { false }
    public func render(_ request: Request) throws(TemplateError) -> RenderedPrompt {
        var segments: [PromptSegment] = []
        for m in request.messages { segments += [.init("<|im_start|>\(m["role"]?.string ?? "")\n", trusted: true), .init(m["content"]?.string ?? "", trusted: false), .init("<|im_end|>\n", trusted: true)] }
        segments.append(.init("<|im_start|>assistant\n", trusted: true))
        return RenderedPrompt(text: segments.map(\.text).joined(), segments: segments)
    }
}
