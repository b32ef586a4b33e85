internal import Checkpoints
internal import JSON
internal import Models
internal import Torch
internal import Weights

/// What a step cannot do without: bytes that it reads and operations that it computes, from shapes alone.
///
/// Weights once a step however many rows it has, keys and values of every position held, two operations for
/// each weight and row.
struct StepTraffic {
    /// Matrices in the form that they are kept in.
    private let weights: StepWeights
    /// Bytes of keys and values of a position.
    let stateBytesPerToken: Int
    /// Layers × heads × head size.
    private let attentionWidth: Int

    init(_ checkpoint: Checkpoint, dtype: Tensor.DType, form: WeightForm) {
        let plan = MemoryPlan(of: checkpoint, dtype: dtype.rawValue, form: form)
        weights = plan.step
        stateBytesPerToken = plan.stateBytesPerToken
        let config = checkpoint.config
        func int(_ key: String) -> Int? { config["text_config"]?[key]?.int ?? config[key]?.int }
        let heads = int("num_attention_heads") ?? 0
        let size = int("head_dim") ?? (int("hidden_size") ?? 0) / max(1, heads)
        attentionWidth = (int("num_hidden_layers") ?? 0) * heads * size
    }

    /// Bytes of the decoder's weights, head included.
    var weightBytes: Int { weights.layers.bytes + weights.head.bytes }

    /// Bytes that a step reads whose sequences hold `positions` in all.
    func bytes(positions: Double) -> Double {
        Double(weightBytes) + positions * Double(stateBytesPerToken)
    }

    /// Operations of a step of `rows` rows that each draw a token.
    func decodeOperations(rows: Int) -> Double {
        2 * Double(weights.layers.values + weights.head.values) * Double(rows)
    }

    /// Operations of a prompt of `tokens` tokens: causal attention, one row of logits.
    func prefillOperations(tokens: Int) -> Double {
        let count = Double(tokens)
        return 2 * Double(weights.layers.values) * count + 2 * Double(weights.head.values)
            + 2 * count * count * Double(attentionWidth)
    }
}
