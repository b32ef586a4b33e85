import CTorch
public import Torch

/// Attention without softmax: a row's answer is the sum over the rows before it of (query · their query)
/// times their value.
public struct LinearAttention {
    private let shape: RecurrentState.Shape

    /// Attention over states of `shape`.
    public init(shape: RecurrentState.Shape) { self.shape = shape }

    /// `queries` `[T, width]` of one head, turned already, and `values` `[T, size]` to `[T, size]`; float32.
    ///
    /// The rows enter the states; their lengths are the caller's to advance, once all layers have run.
    public func callAsFunction(
        _ queries: Tensor,
        _ values: Tensor,
        layer: Int,
        head: Int,
        runs: [Step.Run]
    ) -> Tensor {
        var packed: [tg_recurrence] = []
        packed.reserveCapacity(runs.count)
        for run in runs {
            guard let state = run.state as? RecurrentState, state.shape == shape,
                layer < shape.layers, head < shape.heads,
                let one = state.run(layer: layer, head: head, count: run.count)
            else {
                Torch.fail("linear attention over a sequence state of another model")
                return Tensor(nil)
            }
            packed.append(one)
        }
        return queries.linearAttention(values: values, runs: packed)
    }
}
