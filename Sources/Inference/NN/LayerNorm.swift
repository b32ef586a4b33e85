public import Torch

/// Layer normalisation (Ba, Kiros and Hinton 2016) over the last axis, in float32.
public struct LayerNorm {
    private let weight, bias: Tensor
    private let epsilon: Float

    /// A norm with `weight` and `bias` `[D]`.
    public init(_ weight: Tensor, bias: Tensor, epsilon: Float) {
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon
    }

    /// `[T, D]` to `[T, D]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        x.layerNorm(weight: weight, bias: bias, epsilon: epsilon)
    }
}
