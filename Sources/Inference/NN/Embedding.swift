public import Torch

/// Rows of a table by token id.
public struct Embedding {
    /// `[V, D]`.
    public let weight: Tensor

    /// A table `[V, D]`.
    public init(_ weight: Tensor) { self.weight = weight }

    /// The rows that enter the first layer: `[T, D]`.
    public func callAsFunction(_ input: Step.Input) -> Tensor {
        switch input {
        case .tokens(let ids): weight.embedding(ids)
        case .embeddings(let rows): rows
        }
    }
}
