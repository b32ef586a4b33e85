import CTorch

// What images and clips need. As everywhere: an error is sticky and gives an undefined tensor.
extension Tensor {
    /// `x · Φ(x)`; `approximately`: by its formula with tanh.
    public func gelu(approximately: Bool = false) -> Tensor {
        Tensor(tg_gelu(handle, approximately))
    }

    /// Writes `rows` `[n, D]` over those of `self` `[T, D]` from row `start` on.
    public func put(_ rows: Tensor, at start: Int) {
        _ = tg_put_rows(handle, Int64(start), rows.handle, false)
    }

    /// Adds `rows` `[n, D]` to those of `self` `[T, D]` from row `start` on.
    public func add(_ rows: Tensor, at start: Int) {
        _ = tg_put_rows(handle, Int64(start), rows.handle, true)
    }

    /// Sums of weighted rows of `self` `[V, D]`, float32: `[count, D]`.
    ///
    /// `rows` and `weights` hold as many taps for each of them.
    public func mixingRows(_ rows: [Int32], weights: [Float], taps: Int) -> Tensor {
        guard taps > 0, rows.count == weights.count, rows.count % taps == 0 else {
            Torch.fail("taps without weights")
            return .undefined
        }
        return Tensor(tg_mix_rows(handle, rows, weights, Int64(rows.count / taps), Int64(taps)))
    }

    /// Remembers rows for `segmentAttention`: `self` `[n, 2 · heads · size]` are the keys and values of rows
    /// `start` and on.
    package func keepSegments(
        in cache: Tensor,
        at start: Int,
        heads: Int,
        size: Int,
        lengths: [Int64]
    ) {
        _ = tg_segment_keep(
            handle,
            Int64(start),
            Int64(heads),
            Int64(size),
            lengths,
            Int64(lengths.count),
            cache.handle
        )
    }

    /// Softmax attention without order inside each segment of rows.
    ///
    /// `self` `[n, heads · size]` are the queries of rows `start` and on; `cache` holds the keys and values
    /// of their segments.
    package func segmentAttention(
        over cache: Tensor,
        at start: Int,
        heads: Int,
        size: Int,
        lengths: [Int64]
    ) -> Tensor {
        Tensor(
            tg_segment_attention(
                handle,
                Int64(start),
                Int64(heads),
                Int64(size),
                1 / Float(size).squareRoot(),
                lengths,
                Int64(lengths.count),
                cache.handle
            )
        )
    }

    /// The patches of frames of `height` × `width` × 3 bytes: `[patches, 3 · frames · patch²]`, float32.
    ///
    /// In blocks of `merge` × `merge` patches; columns by channel, frame, row and column. A value becomes
    /// `(value - mean) / deviation` of its channel.
    public static func patches(
        of frames: [UnsafeRawBufferPointer],
        height: Int,
        width: Int,
        patch: Int,
        merge: Int,
        mean: [Float],
        deviation: [Float]
    ) -> Tensor {
        let (pixels, overflow) = height.multipliedReportingOverflow(by: width)
        let (bytes, overflows) = pixels.multipliedReportingOverflow(by: 3)
        guard !overflow, !overflows, mean.count == 3, deviation.count == 3,
            frames.allSatisfy({ $0.count == bytes })
        else {
            Torch.fail("frames of another size")
            return .undefined
        }
        let starts = frames.map { $0.baseAddress?.assumingMemoryBound(to: UInt8.self) }
        return Tensor(
            tg_patches(
                starts,
                Int64(frames.count),
                Int64(height),
                Int64(width),
                Int64(patch),
                Int64(merge),
                mean,
                deviation
            )
        )
    }
}
