public import Torch

/// `x · Wᵀ + b`.
public struct Linear {
    /// How the weight is kept.
    public enum Weight {
        /// `[out, in]` in the model's dtype.
        case dense(Tensor)
    }

    /// The weight.
    public let weight: Weight
    /// `[out]`, or nil.
    public let bias: Tensor?

    /// A layer from its weight and bias.
    public init(_ weight: Weight, bias: Tensor? = nil) {
        self.weight = weight
        self.bias = bias
    }

    /// `[T, in]` to `[T, out]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        switch weight {
        case .dense(let weight): x.linear(weight, bias: bias)
        }
    }
}
