/// Why a model folder or file cannot be used.
public struct CheckpointError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of fault it is; clients see no more than this.
    public enum Kind: Sendable, Equatable {
        /// There is no such folder or file, or it cannot be read.
        case missing
        /// The bytes contradict themselves or the file's size.
        case corrupt
        /// It is sound, but of a kind that is not read here.
        case unsupported
    }

    /// The kind of fault.
    public let kind: Kind
    /// The file, by its name without folders.
    public let file: String
    /// What was expected and what was found; names the tensor or key.
    public let detail: String

    /// Creates an error.
    public init(_ kind: Kind, file: String, _ detail: String) {
        self.kind = kind
        self.file = file
        self.detail = detail
    }

    /// One line for the operator.
    public var description: String { "\(file): \(detail)" }
}
