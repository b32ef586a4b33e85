// BDH, the Dragon Hatchling (Kosowski et al. 2025, pathwaycom/bdh): every layer has the same weights, and
// linear attention over sparse positive activations remembers sums in place of keys and values.
//
// T rows of a step · D hidden · H heads · N neurons of a head · V vocabulary
//
// Activations, memory and phases are float32 whatever the weights are.

import Checkpoints
import JSON
public import NN
public import Torch
import Weights

/// What makes one BDH differ from another, checked.
struct BDHConfig {
    let layers, hidden, heads, neurons, vocabulary, context: Int
    /// Of all norms, which have no weights.
    let epsilon: Float = 1e-5

    /// `encoder`: the shape `[H, D, N]` of the checkpoint's encoder, for configs that leave numbers out.
    init(_ config: ConfigReader, encoder: [Int]?, context: Int) throws(ModelError) {
        layers = try config.int("n_layer", in: 1...1024, otherwise: 6)
        hidden = try config.int("n_embd", in: 1...131_072, otherwise: 256)
        heads = try config.int("n_head", in: 1...1024, otherwise: 4)
        let stored = encoder.flatMap { $0.count == 3 ? $0[2] : nil }
        if config.value("mlp_internal_dim_multiplier") == nil, let stored {
            neurons = stored
        } else {
            let key = "mlp_internal_dim_multiplier"
            neurons = try config.int(key, in: 1...65_536, otherwise: 128) * hidden / heads
        }
        guard neurons > 0, neurons % 2 == 0 else {
            throw .config(key: "n_head", found: "\(heads)", expected: "an even number of neurons")
        }
        vocabulary = try config.int("vocab_size", in: 1...4_194_304, otherwise: 256)
        self.context = context
    }
}

/// A Dragon Hatchling with its recurrent states.
public final class BDH: CausalLanguageModel {
    private let config: BDHConfig
    private let embedding: Embedding
    private let layer: BDHLayer
    private let head: Linear
    /// Turns a position of each pair of neurons.
    private let cycles: [Float]
    private let stateShape: RecurrentState.Shape

    /// Reads the weights; the first wrong one is the error.
    init(_ reader: WeightReader) throws {
        let prefixes = ["", "_orig_mod.", "module.", "model."]
        let prefix = prefixes.first { reader.has("\($0)encoder") } ?? ""
        let c = try BDHConfig(
            ConfigReader(reader),
            encoder: reader.checkpoint.tensors["\(prefix)encoder"]?.shape,
            context: reader.checkpoint.contextLength
        )
        config = c
        embedding = Embedding(
            try reader.tensor("\(prefix)embed.weight", [c.vocabulary, c.hidden])
        )
        stateShape = RecurrentState.Shape(
            layers: c.layers,
            heads: c.heads,
            width: c.neurons,
            size: c.hidden
        )
        layer = try BDHLayer(reader, prefix, c, stateShape)
        head = Linear(
            .dense(try reader.tensor("\(prefix)lm_head", [c.hidden, c.vocabulary]).transposed())
        )
        cycles = try Self.cycles(reader, prefix, neurons: c.neurons)
    }

    /// The stored ones where they are exact, else those of the formula.
    private static func cycles(_ reader: WeightReader, _ prefix: String, neurons: Int) throws
        -> [Float]
    {
        let names = ["\(prefix)attn.freqs", "\(prefix)attns.0.freqs"]
        if let name = names.first(where: { reader.checkpoint.tensors[$0]?.format == .float32 }) {
            let stored = try reader.flattened(name, [1, 1, 1, neurons], as: .float32).floats
            return stride(from: 0, to: neurons, by: 2).map { stored[$0] }
        }
        return RotaryEmbedding.pairCycles(size: neurons, base: 65_536)
    }

    /// Rows of the head.
    public var vocabularySize: Int { config.vocabulary }
    /// Any number would do for the weights; this is what a sequence is allowed.
    public var contextLength: Int { config.context }
    /// Positions cost nothing.
    public var stateBytesPerToken: Int { 0 }
    /// The sums of all layers.
    public var stateBytes: Int { stateShape.bytes }

    /// Sums cannot be taken back.
    public var statesRewind: Bool { false }

    /// An empty state.
    public func makeState(capacity: Int) -> any SequenceState {
        RecurrentState(stateShape, capacity: min(capacity, config.context))
    }

    /// Logits of the step's output rows.
    public func callAsFunction(_ step: Step) -> Tensor {
        guard step.isSound else {
            Torch.fail("a step whose runs, positions or output rows do not fit its rows")
            return .undefined
        }
        let angles = Tensor.pairAngles(cycles: cycles, positions: step.positions[0])  // [T, N]
        var x = embedding(step.input).to(.float32).layerNorm(epsilon: config.epsilon)  // [T, D]
        for level in 0..<config.layers { x = layer(x, angles, level: level, step) }  // [T, D]
        guard x.isDefined else { return x }
        for run in step.runs { (run.state as? RecurrentState)?.advance(by: run.count) }
        guard !step.outputRows.isEmpty else { return .empty([0, config.vocabulary], .float32) }
        return head.inFloat32(x.takingRows(step.outputRows))  // [outputs, V]
    }
}

/// The one layer that all levels share: `x + norm(Σ heads)`, normalised.
struct BDHLayer {
    private struct Head {
        let encoder, valueEncoder, decoder: Linear
    }

    private let heads: [Head]
    private let attention: LinearAttention
    private let epsilon: Float

    init(
        _ reader: WeightReader,
        _ prefix: String,
        _ c: BDHConfig,
        _ shape: RecurrentState.Shape
    ) throws {
        let (d, h, n) = (c.hidden, c.heads, c.neurons)
        let encoder = try reader.flattened("\(prefix)encoder", [h, d, n])
        let valueEncoder = try reader.flattened("\(prefix)encoder_v", [h, d, n])
        let decoder = try reader.tensor("\(prefix)decoder", [h * n, d])
        heads = (0..<h).map { head in
            func part(_ weight: Tensor, _ rows: Int) -> Linear {
                Linear(.dense(weight.rows(head * rows..<(head + 1) * rows).transposed()))
            }
            return Head(
                encoder: part(encoder, d),  // [N, D]
                valueEncoder: part(valueEncoder, d),  // [N, D]
                decoder: part(decoder, n)  // [D, N]
            )
        }
        attention = LinearAttention(shape: shape)
        epsilon = c.epsilon
    }

    func callAsFunction(_ x: Tensor, _ angles: Tensor, level: Int, _ step: Step) -> Tensor {
        var sum: Tensor?
        for (index, head) in heads.enumerated() {
            let active = head.encoder.inFloat32(x).relu()  // [T, N]
            let turned = active.turningPairs(angles)  // [T, N]
            let recalled = attention(turned, x, layer: level, head: index, runs: step.runs)
            let y = recalled.layerNorm(epsilon: epsilon)  // [T, D]
            let gated = active * head.valueEncoder.inFloat32(y).relu()  // [T, N]
            let part = head.decoder.inFloat32(gated)  // [T, D]
            sum = sum.map { $0 + part } ?? part
        }
        guard let sum else { return .undefined }
        return (x + sum.layerNorm(epsilon: epsilon)).layerNorm(epsilon: epsilon)
    }
}

extension Linear {
    /// The product in the weight's type, of and to float32.
    fileprivate func inFloat32(_ x: Tensor) -> Tensor {
        guard case .dense(let weight) = weight else { return self(x) }
        return self(x.to(weight.dtype ?? .float32)).to(.float32)
    }
}
