/// Bounds of what a request may ask for; the defaults are the API's documented ranges.
public struct RequestLimits: Sendable, Equatable {
    /// Choices of one request, and `best_of`.
    public var choices = 16
    /// Prompts of one completions request.
    public var prompts = 64
    /// Choices of all prompts together.
    public var totalChoices = 128
    /// Messages of a conversation.
    public var messages = 4096
    /// Parts of one message.
    public var contentParts = 1024
    /// Images and clips of one request.
    public var media = 16
    /// Frames that a request may ask for of one clip.
    public var mediaFrames = 768
    /// Tools of one request.
    public var tools = 128
    /// Stop strings.
    public var stopStrings = 4
    /// UTF-8 bytes of one stop string.
    public var stopBytes = 1024
    /// Entries of `logit_bias`.
    public var logitBias = 1024
    /// Most probable tokens shown beside each one.
    public var topLogprobs = 20
    /// The names that `chat_template_kwargs` may set.
    ///
    /// A closed list, since a template also receives messages, tools and special tokens by name.
    public var templateKeywords: Set<String> = [
        "enable_thinking", "thinking", "thinking_budget", "reasoning_effort", "preserve_thinking",
        "clear_thinking", "add_vision_id", "builtin_tools", "tools_in_user_message", "date_string",
        "documents", "xml_tools", "python_tools", "custom_instructions", "model_identity",
    ]
    /// UTF-8 bytes of all of `chat_template_kwargs`' strings and numbers together.
    public var templateKeywordBytes = 65_536

    /// The documented ranges.
    public init() {}
}
