package import CTorch

extension Tensor {
    /// The same values as `dtype`.
    public func to(_ dtype: DType) -> Tensor { Tensor(tg_to(handle, dtype.code)) }

    /// The same elements in another shape.
    public func reshaped(_ shape: [Int]) -> Tensor {
        Tensor(tg_reshape(handle, shape.map(Int64.init), Int32(shape.count)))
    }

    /// A view of `range` along the first axis.
    public func rows(_ range: Range<Int>) -> Tensor {
        Tensor(tg_rows(handle, Int64(range.lowerBound), Int64(range.count)))
    }

    /// A copy of the given rows, in their order.
    public func takingRows(_ rows: [Int]) -> Tensor {
        Tensor(tg_take_rows(handle, rows.map(Int64.init), Int64(rows.count)))
    }

    /// A dense copy of a matrix with its axes exchanged.
    public func transposed() -> Tensor { Tensor(tg_transpose(handle)) }

    /// Elementwise product.
    public static func * (a: Tensor, b: Tensor) -> Tensor {
        Tensor(tg_multiply(a.handle, b.handle))
    }

    /// Negative elements become 0.
    public func relu() -> Tensor { Tensor(tg_relu(handle)) }

    /// Elementwise sum.
    public static func + (a: Tensor, b: Tensor) -> Tensor { Tensor(tg_add(a.handle, b.handle)) }

    /// `self [T, K] · weight [N, K]ᵀ + bias [N]`.
    ///
    /// `[T, N]`. In float32 a row's bits do not depend on its neighbours.
    public func linear(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
        if let bias, bias.handle == nil {
            Torch.fail("undefined bias")
            return Tensor(nil)
        }
        return Tensor(tg_linear(handle, weight.handle, bias?.handle))
    }

    /// Rows of `self [V, D]`: `[ids, D]`; an id outside `0..<V` is an error.
    public func embedding(_ ids: [Int32]) -> Tensor {
        Tensor(tg_embedding(handle, ids, Int64(ids.count)))
    }

    /// `x · rsqrt(mean(x²) + epsilon) · weight [D]` over the last axis of `[T, D]`.
    public func rmsNorm(_ weight: Tensor, epsilon: Float) -> Tensor {
        Tensor(tg_rms_norm(handle, weight.handle, epsilon))
    }

    /// Adds `self` to `residual` in place, and answers `rmsNorm` of the sum.
    public func rmsNorm(addedTo residual: Tensor, _ weight: Tensor, epsilon: Float) -> Tensor {
        Tensor(tg_add_rms_norm(handle, residual.handle, weight.handle, epsilon))
    }

    /// `(x - mean) · rsqrt(variance + epsilon) · weight [D] + bias [D]` over the last axis of `[T, D]`;
    /// without weight or bias that step is left out.
    public func layerNorm(weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float) -> Tensor {
        for given in [weight, bias].compactMap({ $0 }) where !given.isDefined {
            Torch.fail("undefined weight of a norm")
            return Tensor(nil)
        }
        return Tensor(tg_layer_norm(handle, weight?.handle, bias?.handle, epsilon))
    }

    /// The same as `rmsNorm` over each of `heads` heads of `size` from `column` on, in place; `weight` `[size]`.
    public func headsNormed(
        column: Int,
        heads: Int,
        size: Int,
        weight: Tensor,
        epsilon: Float
    ) -> Tensor {
        let done = tg_head_norm(
            handle,
            Int64(column),
            Int64(heads),
            Int64(size),
            weight.handle,
            epsilon
        )
        return done ? self : .undefined
    }

    /// `silu(gate) · up` for `[T, 2N]` that holds gate, then up: `[T, N]`.
    public func swiglu() -> Tensor { Tensor(tg_swiglu(handle)) }

    /// `self` with the halves of `heads` heads of `size` from `column` on rotated in place.
    ///
    /// `angles` is `[positions, size]`, cosines then sines; `positions` has one index a row. They and the
    /// products are rounded to the tensor's type, unless `wide`.
    public func rotated(
        column: Int,
        heads: Int,
        size: Int,
        angles: Tensor,
        positions: [Int32],
        wide: Bool = false
    ) -> Tensor {
        let done = tg_rope(
            handle,
            Int64(column),
            Int64(heads),
            Int64(size),
            angles.handle,
            positions,
            Int64(positions.count),
            wide
        )
        return done ? self : .undefined
    }

    /// How queries and keys are made ready: head norms, then a rotation by the rows' positions.
    package typealias HeadTurn = (
        angles: Tensor, positions: [Int32], norms: (query: Tensor, key: Tensor, epsilon: Float)?
    )

    /// Causal attention over the runs' caches, which take the new keys and values up.
    ///
    /// `self` is `[T, (heads + 2 · keyHeads) · size]`: queries, keys, values; nil for `turn`: rotated already, else
    /// they are turned in place on the way. Answers `[T, heads · size]`. A row sees the last `window` keys up to its
    /// own.
    package func attention(
        turn: HeadTurn?,
        heads: Int,
        keyHeads: Int,
        size: Int,
        scale: Float,
        window: Int,
        runs: [tg_run]
    ) -> Tensor {
        func attend(_ turn: UnsafePointer<tg_turn>?) -> Tensor {
            Tensor(
                tg_attention(
                    handle,
                    turn,
                    Int64(heads),
                    Int64(keyHeads),
                    Int64(size),
                    scale,
                    Int64(window),
                    runs,
                    Int64(runs.count)
                )
            )
        }
        guard let turn else { return attend(nil) }
        guard turn.positions.count == shape.first else {
            Torch.fail("\(turn.positions.count) positions for rows \(shape)")
            return .undefined
        }
        return withExtendedLifetime(turn) {
            turn.positions.withUnsafeBufferPointer { positions in
                var made = tg_turn(
                    query_norm: turn.norms?.query.handle,
                    key_norm: turn.norms?.key.handle,
                    angles: turn.angles.handle,
                    positions: positions.baseAddress,
                    eps: turn.norms?.epsilon ?? 0
                )
                return attend(&made)
            }
        }
    }

    /// For each row the sum over the rows before it of `(q · their q) · their value`.
    ///
    /// `self` are the queries `[T, N]`, `values` `[T, D]`, float32; the runs' memories take the rows up.
    package func linearAttention(values: Tensor, runs: [tg_recurrence]) -> Tensor {
        Tensor(tg_linear_attention(handle, values.handle, runs, Int64(runs.count)))
    }

    /// `[positions, 2 · pairs]`: cosines, then sines of pairs that turn `cycles` times a position.
    public static func pairAngles(cycles: [Float], positions: [Int32]) -> Tensor {
        Tensor(tg_pair_angles(cycles, Int64(cycles.count), positions, Int64(positions.count)))
    }

    /// `[T, N]` with its pairs of neighbours turned by `angles` `[T, N]`; float32.
    public func turningPairs(_ angles: Tensor) -> Tensor {
        Tensor(tg_turn_pairs(handle, angles.handle))
    }

    /// Gives whole pages of a byte range back to the system; they read as zeros afterwards.
    package func discard(offset: Int, bytes: Int) {
        tg_discard(handle, Int64(offset), Int64(bytes))
    }

    /// One answer a row of logits `[rows, V]`; nil after an error.
    package func sample(_ rows: [tg_sampler_row]) -> [tg_sampled]? {
        var done = false
        let answers = [tg_sampled](unsafeUninitializedCapacity: rows.count) { buffer, filled in
            guard let base = buffer.baseAddress else { return }
            done = tg_sample(handle, rows, base, Int64(rows.count))
            if done { filled = rows.count }
        }
        return done || rows.isEmpty ? answers : nil
    }
}
