public import Torch

/// Rows of a table by token id.
public struct Embedding {
    /// `[V, D]`.
    public let weight: WeightMatrix
    private let dtype: Tensor.DType

    /// A table `[V, D]` whose rows are wanted as `dtype`.
    public init(_ weight: WeightMatrix, as dtype: Tensor.DType) {
        self.weight = weight
        self.dtype = dtype
    }

    /// A table `[V, D]`.
    public init(_ weight: Tensor) { self.init(.dense(weight), as: weight.dtype ?? .float32) }

    /// The rows that enter the first layer: `[T, D]`.
    public func callAsFunction(_ input: Step.Input) -> Tensor {
        switch input {
        case .embeddings(let rows): rows
        case .tokens(let ids):
            switch weight {
            case .dense(let table): table.embedding(ids)
            case .packed(let table): table.rows(ids, as: dtype)
            }
        }
    }
}
