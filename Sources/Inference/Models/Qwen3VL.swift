// Qwen3-VL (Qwen team 2025), dense: a Qwen3 decoder with three positions a token in turn, and a tower with
// learned places, whose inner layers reach into the decoder's first ones (DeepStack).
//
// N patches of a group · D hidden · M patches merged into a token

#if canImport(Glibc)
import Glibc
#endif
import JSON
import NN
import Torch
import Vision
import Weights

extension DecoderConfig {
    /// What `config.json` says of Qwen3-VL's decoder.
    static func qwen3VL(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        var decoder = try qwen3(reader)
        decoder.sections = .interleaved(
            try ConfigReader(reader).sections(headSize: decoder.headSize, otherwise: [24, 20, 20])
        )
        return decoder
    }
}

/// Qwen3-VL's vision tower.
struct Qwen3VLTower: VisionTower {
    private let config: VisionConfig
    private let embedding: Linear
    private let table: Tensor
    private let side: Int
    private let blocks: [Qwen3VLBlock]
    private let merger: Qwen3VLMerger
    private let deepMergers: [Qwen3VLMerger]
    private let deepBlocks: [Int]

    let tokensPerSecond = 0.0
    var layout: PatchLayout { config.layout }
    var depth: Int { blocks.count }

    init(_ reader: WeightReader) throws {
        let config = try VisionConfig(reader, patch: 16)
        let fields = config.fields
        self.config = config
        let w = WeightScope.vision(of: reader)
        embedding = try w["patch_embed"].patches(config, bias: true)
        let places = try fields.int("num_position_embeddings", in: 1...1 << 20)
        side = Int(Double(places).squareRoot())
        guard side * side == places else {
            throw ModelError.config(
                key: "num_position_embeddings",
                found: "\(places)",
                expected: "a square"
            )
        }
        table = try w.tensor("pos_embed.weight", [places, config.hidden]).to(.float32)
        let activation = fields.value("hidden_act")?.string ?? "gelu_pytorch_tanh"
        guard activation == "gelu_pytorch_tanh" else {
            throw ModelError.config(
                key: "hidden_act",
                found: activation,
                expected: "gelu_pytorch_tanh"
            )
        }
        let inner = try fields.int("intermediate_size", in: 1...1_048_576)
        blocks = try (0..<config.depth).map {
            try Qwen3VLBlock(w["blocks.\($0)"], config, inner: inner)
        }
        merger = try Qwen3VLMerger(w["merger"], config, normsMerged: false)
        deepBlocks = try fields.indexes("deepstack_visual_indexes", below: config.depth)
        deepMergers = try deepBlocks.indices.map {
            try Qwen3VLMerger(w["deepstack_merger_list.\($0)"], config, normsMerged: true)
        }
    }

    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState {
        let x = embedding(patches.to(config.dtype))  // [N, D]
        let counts = tiles.map(\.count)
        return TowerState(
            x: x + places(tiles).to(config.dtype),
            angles: config.angles(tiles),
            places: (0..<counts.reduce(0, +)).map { Int32(clamping: $0) },
            tiles: counts,
            windows: [],
            order: nil
        )
    }

    /// The table of places, stretched over each tile: corners on corners, linear between, `[N, D]`.
    private func places(_ tiles: [VisionTile]) -> Tensor {
        func line(_ count: Int) -> [(low: Int, high: Int, part: Float)] {
            (0..<count).map { index in
                let at = count > 1 ? Float(index) * (Float(side - 1) / Float(count - 1)) : 0
                let low = min(side - 1, Int(at))
                return (low, min(side - 1, low + 1), at - Float(low))
            }
        }
        var rows: [Int32] = []
        var weights: [Float] = []
        for tile in tiles {
            let (down, across) = (line(tile.height), line(tile.width))
            for (row, column) in VisionPlaces.patches(tile, merge: layout.merge) {
                let (y, x) = (down[row], across[column])
                for (place, weight) in [
                    (y.low * side + x.low, (1 - y.part) * (1 - x.part)),
                    (y.low * side + x.high, (1 - y.part) * x.part),
                    (y.high * side + x.low, y.part * (1 - x.part)),
                    (y.high * side + x.high, y.part * x.part),
                ] {
                    rows.append(Int32(clamping: place))
                    weights.append(weight)
                }
            }
        }
        return table.mixingRows(rows, weights: weights, taps: 4)
    }

    func run(_ block: Int, _ state: inout TowerState) {
        state.x = blocks[block](state)
        if let level = deepBlocks.firstIndex(of: block) {
            state.deep.append(deepMergers[level](state.x))
        }
    }

    func end(_ state: TowerState) -> VisionFeatures {
        VisionFeatures(rows: merger(state.x), deep: state.deep)
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
private struct Qwen3VLBlock {
    private let inputNorm, outputNorm: LayerNorm
    private let attention: VisionAttention
    private let up, down: Linear

    init(_ w: WeightScope, _ c: VisionConfig, inner: Int) throws {
        inputNorm = try w.layerNorm("norm1", size: c.hidden, epsilon: 1e-6)
        outputNorm = try w.layerNorm("norm2", size: c.hidden, epsilon: 1e-6)
        attention = try VisionAttention(w["attn"], hidden: c.hidden, heads: c.heads)
        up = try w["mlp"].linear("linear_fc1", from: c.hidden, to: inner, bias: true)
        down = try w["mlp"].linear("linear_fc2", from: inner, to: c.hidden, bias: true)
    }

    func callAsFunction(_ state: TowerState) -> Tensor {
        let h = state.x + attention(inputNorm(state.x), state, segments: state.tiles)
        return h + outputNorm(h).byRows { down(up($0).gelu(approximately: true)) }
    }
}

/// Patches side by side as a token; the norm goes before or behind.
private struct Qwen3VLMerger {
    private let norm: LayerNorm
    private let up, down: Linear
    private let normsMerged: Bool
    private let merged, width: Int

    init(_ w: WeightScope, _ c: VisionConfig, normsMerged: Bool) throws {
        merged = c.merged
        width = c.hidden * c.merged
        self.normsMerged = normsMerged
        norm = try w.layerNorm("norm", size: normsMerged ? width : c.hidden, epsilon: 1e-6)
        up = try w.linear("linear_fc1", from: width, to: width, bias: true)
        down = try w.linear("linear_fc2", from: width, to: c.output, bias: true)
    }

    /// `[N, D]` to `[N / M, output]`.
    func callAsFunction(_ x: Tensor) -> Tensor {
        let shape = [(x.shape.first ?? 0) / merged, width]
        let rows = normsMerged ? norm(x.reshaped(shape)) : norm(x).reshaped(shape)
        return down(up(rows).gelu())
    }
}
