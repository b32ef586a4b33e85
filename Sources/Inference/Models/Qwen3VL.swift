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
            try ConfigReader(reader).sections(total: nil, otherwise: [24, 20, 20])
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
    let tokensPerSecond = 0.0
    let blocks: [VisionBlock]
    let mergers: [(Tensor) -> Tensor]
    let stages: [TowerStage]

    var layout: PatchLayout { config.layout }

    init(_ reader: WeightReader) throws {
        let config = try VisionConfig(
            reader,
            otherwise: .init(patch: 16, depth: 27, hidden: 1152)
        )
        let fields = config.fields
        self.config = config
        let w = WeightScope.vision(of: reader)
        embedding = try w["patch_embed"].patches(config, bias: true)
        let key = "num_position_embeddings"
        let places = try fields.int(key, in: 1...1 << 20, otherwise: 2304)
        // What does not fill a square lies idle.
        side = Int(Double(places).squareRoot())
        table = try w.tensor("pos_embed.weight", [places, config.hidden]).to(.float32)
        let known = ["gelu_pytorch_tanh", "gelu_new", "gelu"]
        let isExact = try fields.activation("hidden_act", of: known) == "gelu"
        let inner = try fields.int("intermediate_size", in: 1...1_048_576, otherwise: 4304)
        blocks = try (0..<config.depth).map {
            try VisionBlock(qwen3: w["blocks.\($0)"], config, inner: inner, isExact: isExact)
        }
        // In the order of the blocks behind which they stand; the lists of weights have the config's order.
        let listed = try fields.indexes("deepstack_visual_indexes", otherwise: [8, 16, 24])
        let deep = blocks.indices.filter(listed.contains)
        mergers =
            try deep.map { block in
                let place = listed.firstIndex(of: block) ?? 0
                return try Self.merger(
                    w["deepstack_merger_list.\(place)"],
                    config,
                    normsMerged: true
                )
            } + [try Self.merger(w["merger"], config, normsMerged: false)]
        stages =
            blocks.indices.flatMap { block in
                [.keep(block), .mix(block)]
                    + deep.indices.filter { deep[$0] == block }.map { .merge($0) }
            } + [.merge(deep.count)]
    }

    /// `[n, D]` to `[n / M, output]`; the norm goes before the patches are put side by side, or behind.
    private static func merger(_ w: WeightScope, _ c: VisionConfig, normsMerged: Bool) throws
        -> (Tensor) -> Tensor
    {
        let width = c.hidden * c.merged
        let norm = try w.layerNorm("norm", size: normsMerged ? width : c.hidden, epsilon: 1e-6)
        let up = try w.linear("linear_fc1", from: width, to: width, bias: true)
        let down = try w.linear("linear_fc2", from: width, to: c.output, bias: true)
        return { x in
            let shape = [(x.shape.first ?? 0) / c.merged, width]
            let rows = normsMerged ? norm(x.reshaped(shape)) : norm(x).reshaped(shape)
            return down(up(rows).gelu())
        }
    }

    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState {
        let x = embedding(patches.to(config.dtype))  // [N, D]
        let count = tiles.reduce(0) { $0 + $1.count }
        return config.state(
            x + places(tiles).to(config.dtype),
            tiles,
            places: (0..<count).map { Int32(clamping: $0) },
            mergers: mergers.count
        )
    }

    func segments(_ block: Int, _ state: TowerState) -> Segments { state.tiles }

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
}

extension VisionBlock {
    fileprivate init(qwen3 w: WeightScope, _ c: VisionConfig, inner: Int, isExact: Bool) throws {
        let before = try w.layerNorm("norm1", size: c.hidden, epsilon: 1e-6)
        let between = try w.layerNorm("norm2", size: c.hidden, epsilon: 1e-6)
        let up = try w["mlp"].linear("linear_fc1", from: c.hidden, to: inner, bias: true)
        let down = try w["mlp"].linear("linear_fc2", from: inner, to: c.hidden, bias: true)
        try self.init(
            w["attn"],
            c,
            norm: { before($0) },
            mlp: { down(up(between($0)).gelu(approximately: !isExact)) }
        )
    }
}
