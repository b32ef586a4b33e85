// Llama (Touvron et al. 2023) and what shares its shape: SmolLM2, TinyLlama, Llama 2 and 3.
//
// T rows of a step · D hidden · H query heads · G key-value heads · E head size · I inner · V vocabulary

import Checkpoints
import JSON
public import NN
public import Torch
import Weights

/// What `config.json` says of a Llama model, checked.
struct LlamaConfig {
    let layers, hidden, heads, keyHeads, headSize, inner, vocabulary, context: Int
    let epsilon: Float
    let tied, attentionBias, mlpBias: Bool
    let base: Double
    let scaling: RotaryEmbedding.Scaling

    init(_ json: JSONValue) throws(ModelError) {
        let config = ConfigReader(config: json)
        layers = try config.int("num_hidden_layers", in: 1...1024)
        hidden = try config.int("hidden_size", in: 1...131_072)
        heads = try config.int("num_attention_heads", in: 1...1024)
        keyHeads = try config.int("num_key_value_heads", in: 1...heads, otherwise: heads)
        guard heads % keyHeads == 0 else {
            throw .config(
                key: "num_key_value_heads",
                found: "\(keyHeads)",
                expected: "a divisor of \(heads)"
            )
        }
        headSize = try config.int("head_dim", in: 2...1024, otherwise: hidden / heads)
        guard headSize >= 2, headSize % 2 == 0 else {
            throw .config(key: "head_dim", found: "\(headSize)", expected: "an even number")
        }
        inner = try config.int("intermediate_size", in: 1...1_048_576)
        vocabulary = try config.int("vocab_size", in: 1...4_194_304)
        context = try config.int("max_position_embeddings", in: 1...16_777_216, otherwise: 2048)
        epsilon = Float(try config.double("rms_norm_eps", in: 0...1, otherwise: 1e-6))
        tied = try config.bool("tie_word_embeddings", otherwise: false)
        attentionBias = try config.bool("attention_bias", otherwise: false)
        mlpBias = try config.bool("mlp_bias", otherwise: false)
        (base, scaling) = try config.rotary()
        if let activation = config.value("hidden_act")?.string,
            activation != "silu", activation != "swish"
        {
            throw .config(key: "hidden_act", found: activation, expected: "silu")
        }
    }
}

/// A Llama decoder with its KV slots.
public final class Llama: CausalLanguageModel {
    private let config: LlamaConfig
    private let embedding: Embedding
    private let blocks: [LlamaBlock]
    private let norm: RMSNorm
    private let head: Linear
    private let stateShape: KVState.Shape

    /// Reads the weights; the first wrong one is the error.
    init(_ reader: WeightReader) throws {
        let config = try LlamaConfig(reader.checkpoint.config)
        self.config = config
        let root = WeightScope(reader: reader, prefix: "")
        let model = root["model"]
        let rotary = try Self.rotary(config, reader)
        let table = try model.table(
            "embed_tokens",
            rows: config.vocabulary,
            columns: config.hidden
        )
        embedding = Embedding(table)
        blocks = try (0..<config.layers).map {
            try LlamaBlock(model["layers.\($0)"], config, layer: $0, rotary)
        }
        norm = try model.norm("norm", size: config.hidden, epsilon: config.epsilon)
        // A head of its own wins over the flag; the same bytes twice are kept once.
        let own = reader.has("lm_head.weight")
        let shared =
            config.tied
            && (!own || reader.areEqual("lm_head.weight", "model.embed_tokens.weight"))
        head =
            shared
            ? Linear(.dense(table))
            : try root.linear("lm_head", from: config.hidden, to: config.vocabulary)
        stateShape = KVState.Shape(
            layers: config.layers,
            keyHeads: config.keyHeads,
            headSize: config.headSize,
            dtype: reader.dtype
        )
    }

    /// GGUF files carry Llama 3's scaling as one factor a frequency.
    private static func rotary(_ config: LlamaConfig, _ reader: WeightReader) throws
        -> RotaryEmbedding
    {
        let name = "rope_freqs.weight"
        let factors =
            reader.has(name)
            ? try reader.tensor(name, [config.headSize / 2], as: .float32).floats : nil
        return RotaryEmbedding(
            headSize: config.headSize,
            base: config.base,
            scaling: factors.map { .factors($0) } ?? config.scaling,
            positions: config.context
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
        var x = embedding(step.input)  // [T, D]
        for block in blocks { x = block(x, step) }  // [T, D]
        guard x.isDefined else { return x }
        for run in step.runs { (run.state as? KVState)?.advance(by: run.count) }
        guard !step.outputRows.isEmpty else { return .empty([0, config.vocabulary], .float32) }
        if step.outputRows.count != step.rowCount || step.outputRows != Array(0..<step.rowCount) {
            x = x.takingRows(step.outputRows)
        }
        return head(norm(x)).to(.float32)  // [outputs, V]
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
private struct LlamaBlock {
    let attention: LlamaAttention
    let mlp: SwiGLU
    let inputNorm, outputNorm: RMSNorm

    init(_ w: WeightScope, _ c: LlamaConfig, layer: Int, _ rotary: RotaryEmbedding) throws {
        inputNorm = try w.norm("input_layernorm", size: c.hidden, epsilon: c.epsilon)
        attention = try LlamaAttention(w["self_attn"], c, layer: layer, rotary)
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

    func callAsFunction(_ x: Tensor, _ step: Step) -> Tensor {
        let h = x + attention(inputNorm(x), step)
        return h + mlp(outputNorm(h))
    }
}

private struct LlamaAttention {
    let qkv, output: Linear
    let rotary: RotaryEmbedding
    let attention: Attention
    let rotated, headSize, layer: Int

    init(_ w: WeightScope, _ c: LlamaConfig, layer: Int, _ rotary: RotaryEmbedding) throws {
        let queries = c.heads * c.headSize
        let keys = c.keyHeads * c.headSize
        qkv = try w.linear(
            ["q_proj", "k_proj", "v_proj"],
            from: c.hidden,
            to: [queries, keys, keys],
            bias: c.attentionBias
        )
        output = try w.linear("o_proj", from: queries, to: c.hidden, bias: c.attentionBias)
        attention = Attention(heads: c.heads, keyHeads: c.keyHeads, headSize: c.headSize)
        rotated = c.heads + c.keyHeads
        headSize = c.headSize
        self.layer = layer
        self.rotary = rotary
    }

    func callAsFunction(_ x: Tensor, _ step: Step) -> Tensor {
        let turned = rotary(qkv(x), column: 0, heads: rotated, positions: step.positions[0])
        let mixed = attention(turned, layer: layer, runs: step.runs)  // [T, H · E]
        return output(mixed)  // [T, D]
    }
}
