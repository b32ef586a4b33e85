public import Torch

/// `x · Wᵀ + b`.
public struct Linear {
    /// How the weight is kept: `[out, in]`.
    public typealias Weight = WeightMatrix

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
        case .packed(let weight): x.linear(weight, bias: bias, as: x.dtype ?? .float32)
        }
    }

    /// `[T, in]` to `[T, out]` in float32.
    ///
    /// A quantised weight's are not rounded on the way.
    public func logits(_ x: Tensor) -> Tensor {
        switch weight {
        case .dense: self(x).to(.float32)
        case .packed(let weight): x.linear(weight, bias: bias, as: .float32)
        }
    }

    /// The logits of the norm of `x`.
    public func logits(_ x: Tensor, of norm: RMSNorm) -> Tensor {
        guard x.joinsProducts else { return logits(norm(x)) }
        return x.joinedLinear(weight, bias: bias, norm: (norm.weight, norm.epsilon), wide: true)
    }
}
