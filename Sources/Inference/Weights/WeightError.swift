/// Why a checkpoint's tensor cannot become a weight.
public struct WeightError: Error, Equatable, CustomStringConvertible {
    /// What is wrong.
    public enum Reason: Equatable, Sendable {
        /// The checkpoint has no such tensor.
        case missing
        /// Its shape is not the model's.
        case shape(expected: [Int], found: [Int])
        /// Its storage format is not one of weights.
        case format(String)
        /// Decoding failed; libtorch's message.
        case decoding(String)
    }

    /// The tensor's name in the checkpoint.
    public let tensor: String
    /// The file that holds it; nil where it is missing.
    public let file: String?
    /// What is wrong.
    public let reason: Reason

    /// One sentence with tensor, file, expected and found.
    public var description: String {
        let place = file.map { "tensor \(tensor) in \($0)" } ?? "tensor \(tensor)"
        switch reason {
        case .missing: return "\(place) is missing"
        case .shape(let expected, let found):
            return "\(place): expected the shape \(expected), found \(found)"
        case .format(let name): return "\(place): weights in \(name) are not supported"
        case .decoding(let message): return "\(place): \(message)"
        }
    }
}
