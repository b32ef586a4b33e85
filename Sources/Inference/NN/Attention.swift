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

    /// `qkv` `[T, (heads + 2 · keyHeads) · headSize]`, rotated already, to `[T, heads · headSize]`.
    ///
    /// The new keys and values enter the slots; their lengths are the caller's to advance, once all
    /// layers have run.
    public func callAsFunction(_ qkv: Tensor, layer: Int, runs: [Step.Run]) -> Tensor {
        var packed: [tg_run] = []
        packed.reserveCapacity(runs.count)
        for run in runs {
            guard let state = run.state as? KVState, state.shape.keyHeads == keyHeads,
                state.shape.headSize == headSize, state.shape.dtype == qkv.dtype,
                layer < state.shape.layers
            else {
                Torch.fail("attention over a sequence state of another model")
                return Tensor(nil)
            }
            packed.append(state.run(layer: layer, count: run.count))
        }
        return qkv.attention(
            heads: heads,
            keyHeads: keyHeads,
            size: headSize,
            scale: 1 / Float(headSize).squareRoot(),
            window: window,
            runs: packed
        )
    }
}
