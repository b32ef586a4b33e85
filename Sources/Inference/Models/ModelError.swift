/// Why a checkpoint cannot become a model.
public enum ModelError: Error, Equatable, CustomStringConvertible {
    /// `model_type` is not in the registry.
    case architecture(String, known: [String])
    /// `model_type` is one that a later model replaces.
    case outdated(String, successor: String)
    /// A key of `config.json` is absent or outside what the model can be.
    case config(key: String, found: String, expected: String)
    /// The file has tensors that the model does not compute with.
    case unused(tensors: [String])
    /// There is no such device here: the sentence why.
    case device(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .architecture(let name, let known):
            "the architecture \(name) is not supported; known: \(known.joined(separator: ", "))"
        case .outdated(let name, let successor):
            "the architecture \(name) is not supported; use \(successor) in its place"
        case .config(let key, let found, let expected):
            "config: \(key) is \(found), expected \(expected)"
        case .unused(let tensors):
            "the model has no use for \(tensors.count) of the file's tensors: "
                + tensors.prefix(3).joined(separator: ", ")
        case .device(let reason): reason
        }
    }
}
