package import CTorch

/// A matrix `[out, in]` whose rows stay quantised: codes and scales, 16 rows side by side.
///
/// Used on one thread; filled by `add`, from the first row on.
public final class PackedWeight {
    /// The handle; nil after a failure.
    package let handle: tg_packed?

    /// A matrix that still lacks all its rows.
    public init(rows: Int, columns: Int) {
        handle = tg_packed_new(Int64(rows), Int64(columns))
    }

    deinit { tg_packed_free(handle) }

    /// Rows and columns; zeros after a failure.
    public var shape: [Int] { [Int(tg_packed_rows(handle)), Int(tg_packed_columns(handle))] }

    /// Bytes that it holds.
    public var byteCount: Int { Int(tg_packed_bytes(handle)) }

    /// The values of the rows `ids` as `dtype`: `[ids, in]`; an id outside `0..<out` is an error.
    public func rows(_ ids: [Int32], as dtype: Tensor.DType) -> Tensor {
        Tensor(tg_packed_embedding(handle, ids, Int64(ids.count), dtype.code))
    }
}

/// A weight `[out, in]` in one of the forms that can be multiplied with.
public enum WeightMatrix {
    /// In the model's dtype.
    case dense(Tensor)
    /// Quantised.
    case packed(PackedWeight)

    /// Rows and columns.
    public var shape: [Int] {
        switch self {
        case .dense(let weight): weight.shape
        case .packed(let weight): weight.shape
        }
    }
}

extension Tensor {
    /// Whether a product of these rows is quick together with what stands around it: `joinedLinear`.
    package var joinsProducts: Bool { tg_joins(handle) }

    /// `self [T, K] · weight [N, K]ᵀ + bias [N]` on the device, at once with what stands around it.
    ///
    /// `norm`: `rmsNorm` before. `gated`: `swiglu` behind. `sum`: the product is added to it in place, and it is the
    /// answer. `wide`: the answer is float32.
    package func joinedLinear(
        _ weight: WeightMatrix,
        bias: Tensor?,
        norm: (weight: Tensor, epsilon: Float)? = nil,
        gated: Bool = false,
        sum: Tensor? = nil,
        wide: Bool = false
    ) -> Tensor {
        for given in [bias, norm?.weight, sum].compactMap({ $0 }) where !given.isDefined {
            Torch.fail("an undefined tensor around a product")
            return .undefined
        }
        var around = tg_around(
            norm: norm?.weight.handle,
            bias: bias?.handle,
            sum: sum?.handle,
            eps: norm?.epsilon ?? 0,
            gated: gated,
            wide: wide
        )
        return withExtendedLifetime((bias, norm, sum)) {
            switch weight {
            case .dense(let dense): Tensor(tg_joined_linear(handle, dense.handle, nil, &around))
            case .packed(let packed): Tensor(tg_joined_linear(handle, nil, packed.handle, &around))
            }
        }
    }

    /// `self [T, K] · weight [N, K]ᵀ + bias [N]`, `[T, N]` as `dtype`.
    ///
    /// The input is rounded to 8 bits in blocks of 32. A row's bits do not depend on its neighbours.
    public func linear(_ weight: PackedWeight, bias: Tensor? = nil, as dtype: DType) -> Tensor {
        if let bias, bias.handle == nil {
            Torch.fail("undefined bias")
            return Tensor(nil)
        }
        return Tensor(tg_packed_linear(handle, weight.handle, bias?.handle, dtype.code))
    }
}
