import CTorch
public import Torch

/// Causal grouped-query attention over the KV slots of a step's runs.
public struct Attention {
    private let heads: Int
    private let keyHeads: Int
    private let headSize: Int
    private let window: Int

    /// `heads` query heads share `keyHeads` key-value heads of `headSize`.
    ///
    /// `window`: a row sees so many keys, its own among them; nil: all before it.
    public init(heads: Int, keyHeads: Int, headSize: Int, window: Int? = nil) {
        self.heads = heads
        self.keyHeads = keyHeads
        self.headSize = headSize
        // No sequence is longer, and adding to it cannot overflow.
        self.window = min(max(1, window ?? .max), 1 << 40)
    }

    /// `qkv` `[T, (heads + 2 · keyHeads) · headSize]` to `[T, heads · headSize]`.
    ///
    /// Queries and keys get the head norms, if there are any, and are rotated by `turns`; without that they are
    /// rotated already. What `qkv` holds afterwards is not said. The new keys and values enter the slots; their
    /// lengths are the caller's to advance, once all layers have run.
    public func callAsFunction(
        _ qkv: Tensor,
        norms: (query: RMSNorm, key: RMSNorm)? = nil,
        turns: RotaryEmbedding.Turns? = nil,
        layer: Int,
        runs: [Step.Run]
    ) -> Tensor {
        guard let packed = packed(runs, layer, qkv) else { return .undefined }
        let norms = norms.map { ($0.query.weight, $0.key.weight, $0.query.epsilon) }
        return qkv.attention(
            turn: turns.map { ($0.angles, $0.rows, norms) },
            heads: heads,
            keyHeads: keyHeads,
            size: headSize,
            scale: 1 / Float(headSize).squareRoot(),
            window: window,
            runs: packed
        )
    }

    private func packed(_ runs: [Step.Run], _ layer: Int, _ qkv: Tensor) -> [tg_run]? {
        var packed: [tg_run] = []
        packed.reserveCapacity(runs.count)
        for run in runs {
            guard let state = run.state as? KVState, state.shape.keyHeads == keyHeads,
                state.shape.headSize == headSize, state.shape.dtype == qkv.dtype,
                layer < state.shape.layers
            else {
                Torch.fail("attention over a sequence state of another model")
                return nil
            }
            packed.append(state.run(layer: layer, count: run.count))
        }
        return packed
    }
}
