/// Why a checkpoint cannot become a model.
public enum ModelError: Error, Equatable, CustomStringConvertible {
    /// `model_type` is not in the registry.
    case architecture(String, known: [String])
    /// A key of `config.json` is absent or outside what the model can be.
    case config(key: String, found: String, expected: String)
    /// There is no such device here.
    case device(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .architecture(let name, let known):
            "the architecture \(name) is not supported; known: \(known.joined(separator: ", "))"
        case .config(let key, let found, let expected):
            "config: \(key) is \(found), expected \(expected)"
        case .device(let name): "there is no device \(name); known: cpu"
        }
    }
}
