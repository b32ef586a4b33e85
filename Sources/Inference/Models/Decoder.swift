// The decoder that Llama, Qwen2 and Qwen3 share: pre-norm blocks of rotary attention and SwiGLU.
// A family is its config: the values of `DecoderConfig` in which it differs stand in its own file.
//
// T rows of a step · D hidden · H query heads · G key-value heads · E head size · I inner · V vocabulary

import Checkpoints
import JSON
public import NN
public import Torch
import Weights

/// What makes one decoder differ from another, checked.
struct DecoderConfig {
    let layers, hidden, heads, keyHeads, headSize, inner, vocabulary, context: Int
    let epsilon: Float
    let tied: Bool
    let base: Double
    let scaling: RotaryEmbedding.Scaling
    /// Biases of q, k and v; of the attention's output; of the feed-forward layer.
    var inputBias = false
    var outputBias = false
    var mlpBias = false
    /// Whether each head of q and k is normalised before it is rotated.
    var headNorms = false
    /// Which of three positions turns which frequency; nil: rows have one.
    var sections: RotaryEmbedding.Sections?
    /// Keys that a row of a layer sees; no entry: all before it.
    var windows: [Int: Int] = [:]

    /// What all families spell alike; `headSize`, `trained` and `keyHeads` are those of configs that name
    /// none.
    init(
        _ reader: WeightReader,
        headSize: Int? = nil,
        trained: Int = 2048,
        keyHeads standardKeyHeads: Int? = nil
    ) throws(ModelError) {
        let config = ConfigReader(reader)
        layers = try config.int("num_hidden_layers", in: 1...1024)
        hidden = try config.int("hidden_size", in: 1...131_072)
        heads = try config.int("num_attention_heads", in: 1...1024)
        keyHeads = try config.int(
            "num_key_value_heads",
            in: 1...heads,
            otherwise: standardKeyHeads ?? heads
        )
        guard heads % keyHeads == 0 else {
            throw .config(
                key: "num_key_value_heads",
                found: "\(keyHeads)",
                expected: "a divisor of \(heads)"
            )
        }
        let size = headSize ?? hidden / heads
        self.headSize = try config.int("head_dim", in: 2...1024, otherwise: size)
        guard self.headSize >= 2, self.headSize % 2 == 0 else {
            throw .config(key: "head_dim", found: "\(self.headSize)", expected: "an even number")
        }
        inner = try config.int("intermediate_size", in: 1...1_048_576)
        vocabulary = try config.int("vocab_size", in: 1...4_194_304)
        let length = try config.int(
            "max_position_embeddings",
            in: 1...16_777_216,
            otherwise: trained
        )
        context = reader.checkpoint.contextLength
        epsilon = Float(try config.double("rms_norm_eps", in: 0...1, otherwise: 1e-6))
        tied = try config.tied()
        (base, scaling) = try config.rotary(context: length)
        if let activation = config.value("hidden_act")?.string,
            activation != "silu", activation != "swish"
        {
            throw .config(key: "hidden_act", found: activation, expected: "silu")
        }
    }
}

/// A decoder with its KV slots.
public final class Decoder: CausalLanguageModel {
    private let config: DecoderConfig
    private let embedding: Embedding
    private let blocks: [DecoderBlock]
    private let rotary: RotaryEmbedding
    private let norm: RMSNorm
    private let head: Linear
    private let stateShape: KVState.Shape

    /// Reads the weights; the first wrong one is the error.
    init(_ reader: WeightReader, _ config: DecoderConfig) throws {
        self.config = config
        let model = WeightScope.decoder(of: reader)
        let rotary = try Self.rotary(config, reader)
        self.rotary = rotary
        let table = try model.table("embed_tokens", rows: config.vocabulary, columns: config.hidden)
        embedding = Embedding(table, as: reader.dtype)
        blocks = try (0..<config.layers).map {
            try DecoderBlock(model["layers.\($0)"], config, layer: $0)
        }
        norm = try model.norm("norm", size: config.hidden, epsilon: config.epsilon)
        head =
            try model.ownHead(from: config.hidden, to: config.vocabulary, tied: config.tied)
            ?? Linear(table)
        stateShape = KVState.Shape(
            layers: config.layers,
            keyHeads: config.keyHeads,
            headSize: config.headSize,
            dtype: reader.dtype
        )
    }

    /// GGUF files carry Llama 3's scaling as one factor a frequency.
    private static func rotary(_ config: DecoderConfig, _ reader: WeightReader) throws
        -> RotaryEmbedding
    {
        let name = "rope_freqs.weight"
        let factors =
            reader.has(name)
            ? try reader.tensor(name, [config.headSize / 2], as: .float32).floats : nil
        if let factors {
            let isSound = factors.allSatisfy { $0 > 0 && $0.isFinite }
            guard config.scaling == .none, isSound else {
                throw ModelError.config(
                    key: "rope_type",
                    found: isSound ? "another beside \(name)" : "a factor of \(name) not above 0",
                    expected: "one sound scaling"
                )
            }
        }
        return RotaryEmbedding(
            headSize: config.headSize,
            base: config.base,
            scaling: factors.map { .factors($0) } ?? config.scaling,
            positions: config.context,
            sections: config.sections
        )
    }

    /// Rows of the head.
    public var vocabularySize: Int { config.vocabulary }
    /// Positions that the rotary table covers.
    public var contextLength: Int { config.context }
    /// Keys and values of all layers.
    public var stateBytesPerToken: Int { stateShape.bytesPerToken }

    /// An empty KV slot.
    public func makeState(capacity: Int) -> any SequenceState {
        KVState(stateShape, capacity: min(capacity, config.context))
    }

    /// Logits of the step's output rows.
    public func callAsFunction(_ step: Step) -> Tensor {
        guard step.isSound else {
            Torch.fail("a step whose runs, positions or output rows do not fit its rows")
            return Tensor.undefined
        }
        let embedded = embedding(step.input)  // [T, D]
        for part in step.replacements {
            embedded.put(part.features.rows.rows(part.range), at: part.row)
        }
        let turns = rotary.turns(step.positions)
        var isOwn = false
        if case .tokens = step.input { isOwn = true }
        var stream = Residual(embedded, isOwn: isOwn)  // [T, D]
        for (layer, block) in blocks.enumerated() {
            block(&stream, step, turns)
            for part in step.replacements where layer < part.features.deep.count {
                stream.settled().add(part.features.deep[layer].rows(part.range), at: part.row)
            }
        }
        var x = stream.settled()
        guard x.isDefined else { return x }
        for run in step.runs { (run.state as? KVState)?.advance(by: run.count) }
        guard !step.outputRows.isEmpty else { return .empty([0, config.vocabulary], .float32) }
        if step.outputRows.count != step.rowCount || step.outputRows != Array(0..<step.rowCount) {
            x = x.takingRows(step.outputRows)
        }
        return head.logits(x, of: norm)  // [outputs, V]
    }
}

/// Adds `attention(norm(x))`, then `mlp(norm(x))`.
struct DecoderBlock {
    private let attention: DecoderAttention
    private let mlp: SwiGLU
    private let inputNorm, outputNorm: RMSNorm

    init(_ w: WeightScope, _ c: DecoderConfig, layer: Int) throws {
        inputNorm = try w.norm("input_layernorm", size: c.hidden, epsilon: c.epsilon)
        attention = try DecoderAttention(w["self_attn"], c, layer: layer)
        outputNorm = try w.norm("post_attention_layernorm", size: c.hidden, epsilon: c.epsilon)
        mlp = SwiGLU(
            gateUp: try w["mlp"].linear(
                ["gate_proj", "up_proj"],
                from: c.hidden,
                to: [c.inner, c.inner],
                bias: c.mlpBias
            ),
            down: try w["mlp"].linear("down_proj", from: c.inner, to: c.hidden, bias: c.mlpBias)
        )
    }

    func callAsFunction(_ x: inout Residual, _ step: Step, _ turns: RotaryEmbedding.Turns) {
        let rows = x.product(attention.qkv, of: inputNorm)  // [T, (H + 2 · G) · E]
        x.add(attention.output, of: attention(rows, step, turns))  // [T, H · E] to [T, D]
        mlp.add(to: &x, of: outputNorm)
    }
}

private struct DecoderAttention {
    let qkv, output: Linear
    let norms: (query: RMSNorm, key: RMSNorm)?
    let attention: Attention
    let layer: Int

    init(_ w: WeightScope, _ c: DecoderConfig, layer: Int) throws {
        let queries = c.heads * c.headSize
        let keys = c.keyHeads * c.headSize
        qkv = try w.linear(
            ["q_proj", "k_proj", "v_proj"],
            from: c.hidden,
            to: [queries, keys, keys],
            bias: c.inputBias
        )
        output = try w.linear("o_proj", from: queries, to: c.hidden, bias: c.outputBias)
        func norm(_ name: String) throws -> RMSNorm {
            try w.norm(name, size: c.headSize, epsilon: c.epsilon)
        }
        norms = c.headNorms ? (try norm("q_norm"), try norm("k_norm")) : nil
        attention = Attention(
            heads: c.heads,
            keyHeads: c.keyHeads,
            headSize: c.headSize,
            window: c.windows[layer]
        )
        self.layer = layer
    }

    func callAsFunction(_ rows: Tensor, _ step: Step, _ turns: RotaryEmbedding.Turns) -> Tensor {
        attention(rows, norms: norms, turns: turns, layer: layer, runs: step.runs)
    }
}
