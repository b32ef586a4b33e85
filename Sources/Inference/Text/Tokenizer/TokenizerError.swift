/// Why a tokenizer cannot be built.
///
/// The text names the file or component and what was found.
public enum TokenizerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A file is absent or cannot be read.
    case unreadable(file: String, reason: String)
    /// A file is not what its format asks for.
    case malformed(file: String, reason: String)
    /// A component (normalizer, pre-tokenizer, model, decoder …) that this room does not know.
    case unsupported(component: String, name: String)
    /// A regular expression that cannot be translated or compiled.
    case pattern(String, reason: String)

    /// One line for people.
    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "\(file): cannot be read: \(reason)"
        case .malformed(let file, let reason): "\(file): \(reason)"
        case .unsupported(let component, let name): "unsupported \(component): \(name)"
        case .pattern(let text, let reason): "pattern \(text): \(reason)"
        }
    }
}
