public import Torch

/// Root mean square normalisation (Zhang and Sennrich 2019): in float32, rounded, then scaled.
public struct RMSNorm {
    let weight: Tensor
    let epsilon: Float

    /// A norm with `weight` `[D]`.
    public init(_ weight: Tensor, epsilon: Float) {
        self.weight = weight
        self.epsilon = epsilon
    }

    /// The norm of `residual` `[T, D]` after `x` was added to it, in place.
    public func callAsFunction(adding x: Tensor, to residual: Tensor) -> Tensor {
        x.rmsNorm(addedTo: residual, weight, epsilon: epsilon)
    }

    /// `[T, D]` to `[T, D]`.
    public func callAsFunction(_ x: Tensor) -> Tensor { x.rmsNorm(weight, epsilon: epsilon) }

    /// Each of `heads` heads of `x` from `column` on, in place.
    ///
    /// A head is as wide as the weight.
    public func callAsFunction(_ x: Tensor, column: Int, heads: Int) -> Tensor {
        x.headsNormed(
            column: column,
            heads: heads,
            size: weight.count,
            weight: weight,
            epsilon: epsilon
        )
    }
}
