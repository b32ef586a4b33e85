public import JSON

/// Why a template cannot be read or rendered.
public struct TemplateError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of fault it is.
    public enum Kind: Sendable, Equatable {
        /// The source is not a template that we can read.
        case syntax
        /// The template does something impossible with these messages.
        case runtime
        /// The template called `raise_exception`: it refuses the conversation.
        case raised
        /// Too many steps, too deep, too long or too slow.
        case limit
        /// The sandbox forbids it.
        case security
    }

    /// The kind of fault.
    public let kind: Kind
    /// What happened, with the line of the template where it is known.
    public let message: String

    /// Creates an error.
    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    /// One line for people.
    public var description: String { message }
}

/// A piece of a prompt and where it comes from.
public struct PromptSegment: Sendable, Equatable {
    /// The piece's text.
    public let text: String
    /// False for text of the client's, in which special tokens must not be recognised.
    public let trusted: Bool

    /// Creates a piece.
    public init(_ text: String, trusted: Bool) {
        self.text = text
        self.trusted = trusted
    }
}

/// What a template made of a conversation.
public struct RenderedPrompt: Sendable, Equatable {
    /// All pieces joined.
    public let text: String
    /// The pieces in order.
    public let segments: [PromptSegment]
}

/// A chat template, read once and rendered often.
///
/// Safe from any thread.
public final class ChatTemplate: @unchecked Sendable {
    // Sendable: the tree is never changed, and its literals hold no reference that is.

    private let body: [Statement]
    /// Whether the template goes through the parts of a message's content itself.
    public let iteratesContent: Bool

    /// Reads the source.
    /// - Throws: `TemplateError` of kind syntax or limit.
    public init(source: String) throws(TemplateError) {
        guard source.utf8.count <= 1 << 20 else {
            throw TemplateError(.limit, "the template is larger than 1 MiB")
        }
        body = try DeepStack.run { () throws(TemplateError) in
            var parser = try Parser(source)
            return try parser.template()
        }
        iteratesContent = Self.iteratesContent(body)
    }

    /// Whether a loop goes over `….content` or over a parameter called `content`.
    private static func iteratesContent(_ body: [Statement]) -> Bool {
        body.contains { statement in
            switch statement {
            case .loop(let loop):
                isContent(loop.items) || iteratesContent(loop.body)
                    || iteratesContent(loop.otherwise)
            case .branch(let branches, _): branches.contains { iteratesContent($0.1) }
            case .setBlock(_, let body, _, _), .filter(_, let body, _), .with(_, let body, _):
                iteratesContent(body)
            case .macro(let definition), .call(let definition, _, _):
                iteratesContent(definition.body)
            default: false
            }
        }
    }

    private static func isContent(_ expression: Expression) -> Bool {
        switch expression {
        case .name(let name): return name == "content"
        case .postfix(_, let chain):
            switch chain.last {
            case .attribute(let name)?: return name == "content"
            case .index(.literal(.string(let text)))?: return text.string == "content"
            default: return false
            }
        default: return false
        }
    }

    /// Renders with these variables.
    ///
    /// `trusted`: variables whose text is the model's makers'. `client`: variables whose text is
    /// the client's. `clock`: what `strftime_now` tells, in seconds since 1970.
    /// - Throws: `TemplateError`.
    public func render(
        trusted: JSONObject,
        client: JSONObject,
        clock: Double,
        limits: TemplateLimits = TemplateLimits()
    ) throws(TemplateError) -> RenderedPrompt {
        let text = try renderedText(trusted: trusted, client: client, clock: clock, limits: limits)
        return RenderedPrompt(text: text.string, segments: text.segments)
    }

    func renderedText(
        trusted: JSONObject,
        client: JSONObject,
        clock: Double,
        limits: TemplateLimits
    )
        throws(TemplateError) -> TaintedText
    {
        try DeepStack.run { () throws(TemplateError) in
            var variables: [String: Value] = [:]
            for (name, value) in client.members { variables[name] = Value(value, trusted: false) }
            for (name, value) in trusted.members { variables[name] = Value(value, trusted: true) }
            return try Interpreter(limits: limits, clock: clock).render(body, variables)
        }
    }
}
