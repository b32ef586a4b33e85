internal import Checkpoints
internal import JSON
internal import Models
internal import Torch
internal import Weights

/// What a step cannot do without: bytes that it reads and operations that it computes, from shapes alone.
///
/// Weights once a step however many rows it has, keys and values of every position held, two operations for
/// each weight and row. The vision tower, norms' vectors and an embedding beside a head of its own (of which
/// a step reads a few rows) do not count.
struct StepTraffic {
    /// Bytes of the decoder's weights in the form that they are kept in, head included.
    private(set) var weightBytes = 0
    /// Bytes of keys and values of a position.
    let stateBytesPerToken: Int
    /// Weights of the layers, each a multiplication and an addition a row.
    private var layerWeights = 0
    /// Weights of the head, which only rows whose logits are wanted pass.
    private var headWeights = 0
    /// Layers × heads × head size.
    private let attentionWidth: Int

    init(_ checkpoint: Checkpoint, dtype: Tensor.DType, form: WeightForm) {
        let plan = MemoryPlan(of: checkpoint, dtype: dtype.rawValue, form: form)
        stateBytesPerToken = plan.stateBytesPerToken
        let config = checkpoint.config
        func int(_ key: String) -> Int? { config["text_config"]?[key]?.int ?? config[key]?.int }
        let heads = int("num_attention_heads") ?? 0
        let size = int("head_dim") ?? (int("hidden_size") ?? 0) / max(1, heads)
        attentionWidth = (int("num_hidden_layers") ?? 0) * heads * size

        var shapes = checkpoint.invented?.shapes ?? [:]
        for (name, entry) in checkpoint.tensors { shapes[name] = entry.shape }
        let hasHead = shapes.keys.contains { $0.hasSuffix("lm_head.weight") }
        for (name, shape) in shapes where shape.count > 1 && !name.contains("vis") {
            let isTable = name.hasSuffix("embed_tokens.weight")
            if isTable && hasHead { continue }
            let isHead = isTable || name.hasSuffix("lm_head.weight")
            let count = shape.reduce(1, *)
            let entry = checkpoint.tensors[name]
            let isFloat = entry.map { $0.format.blockValues == 1 } ?? true
            if !isFloat, form != .dense {
                weightBytes += entry?.bytes.count ?? 0
            } else {
                weightBytes += count * Self.sixteenths(form, dtype, isHead: isHead) / 128
            }
            if isHead { headWeights += count } else { layerWeights += count }
        }
    }

    /// Bits of a weight that is stored as a float, times 16.
    private static func sixteenths(_ form: WeightForm, _ dtype: Tensor.DType, isHead: Bool) -> Int {
        switch form {
        case .dense, .stored: return dtype.size * 128
        case .quantised(let quantisation):
            switch isHead ? .int8 : quantisation {
            case .int8: return 136
            case .int4: return 80
            case .nf4: return 72
            }
        }
    }

    /// Bytes that a step reads whose sequences hold `positions` in all.
    func bytes(positions: Double) -> Double {
        Double(weightBytes) + positions * Double(stateBytesPerToken)
    }

    /// Operations of a step of `rows` rows that each draw a token.
    func decodeOperations(rows: Int) -> Double {
        2 * Double(layerWeights + headWeights) * Double(rows)
    }

    /// Operations of a prompt of `tokens` tokens: causal attention, one row of logits.
    func prefillOperations(tokens: Int) -> Double {
        let count = Double(tokens)
        return 2 * Double(layerWeights) * count + 2 * Double(headWeights)
            + 2 * count * count * Double(attentionWidth)
    }
}
