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
