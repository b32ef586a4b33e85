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
