public import Torch

/// The rows that run through a decoder's layers: what a layer adds waits for the norm that reads the sum.
public struct Residual {
    private var sum: Tensor
    private var pending: Tensor?
    /// Whether `sum` is nobody else's, so that it may be added to in place.
    private var isOwn: Bool

    /// Rows `[T, D]`; `isOwn`: nobody else reads them.
    public init(_ rows: Tensor, isOwn: Bool) {
        sum = rows
        self.isOwn = isOwn
    }

    /// Adds `rows` `[T, D]`.
    public mutating func add(_ rows: Tensor) {
        settle()
        pending = rows
    }

    /// The norm of the rows.
    public mutating func normed(_ norm: RMSNorm) -> Tensor {
        if !isOwn { settle() }
        guard let added = pending else { return norm(sum) }
        pending = nil
        return norm(adding: added, to: sum)
    }

    /// `linear` of the norm of the rows; `gated`: of its answer, `silu(first half) · second half`.
    public mutating func product(_ linear: Linear, of norm: RMSNorm, gated: Bool = false) -> Tensor
    {
        guard sum.joinsProducts else {
            let answer = linear(normed(norm))
            return gated ? answer.swiglu() : answer
        }
        settle()
        return sum.joinedLinear(
            linear.weight,
            bias: linear.bias,
            norm: (norm.weight, norm.epsilon),
            gated: gated
        )
    }

    /// Adds `linear` of `rows`.
    public mutating func add(_ linear: Linear, of rows: Tensor) {
        settle()
        if isOwn, rows.joinsProducts {
            sum = rows.joinedLinear(linear.weight, bias: linear.bias, sum: sum)
        } else {
            pending = linear(rows)
        }
    }

    /// The rows.
    public mutating func settled() -> Tensor {
        settle()
        return sum
    }

    private mutating func settle() {
        guard let added = pending else { return }
        pending = nil
        sum = sum + added
        isOwn = true
    }
}
