// Qwen2.5-VL (Bai et al. 2025): a Qwen2 decoder with three positions a token, and a tower whose blocks see
// windows of patches but for a few, which see a whole frame.
//
// N patches of a group · D hidden · M patches merged into a token

import NN
import Torch
import Vision
import Weights

extension DecoderConfig {
    /// What `config.json` says of Qwen2.5-VL's decoder.
    static func qwen2_5VL(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        var decoder = try qwen2(reader)
        decoder.sections = .chunked(
            try ConfigReader(reader).sections(total: decoder.headSize / 2, otherwise: [16, 24, 24])
        )
        return decoder
    }
}

/// Qwen2.5-VL's vision tower.
struct Qwen2_5VLTower: VisionTower {
    private let config: VisionConfig
    private let embedding: Linear
    private let whole: Set<Int>
    private let side: Int
    let tokensPerSecond: Double
    let blocks: [VisionBlock]
    let mergers: [(Tensor) -> Tensor]
    let stages: [TowerStage]

    var layout: PatchLayout { config.layout }

    init(_ reader: WeightReader) throws {
        let config = try VisionConfig(
            reader,
            otherwise: .init(patch: 14, depth: 32, hidden: 3584)
        )
        let fields = config.fields
        self.config = config
        let w = WeightScope.vision(of: reader)
        embedding = try w["patch_embed"].patches(config, bias: false)
        _ = try fields.activation("hidden_act", of: ["silu", "swish"])
        let inner = try fields.int("intermediate_size", in: 1...1_048_576, otherwise: 3420)
        blocks = try (0..<config.depth).map {
            try VisionBlock(qwen2_5: w["blocks.\($0)"], config, inner: inner)
        }
        stages = blocks.indices.flatMap { [.keep($0), .mix($0)] } + [.merge(0)]
        mergers = [try Self.merger(w["merger"], config)]
        whole = Set(try fields.indexes("fullatt_block_indexes", otherwise: [7, 15, 23, 31]))
        tokensPerSecond = try fields.double("tokens_per_second", in: 0...1e6, otherwise: 4)
        let window = try fields.int("window_size", in: 1...65_536, otherwise: 112)
        side = window / config.layout.factor
        guard side > 0 else {
            throw ModelError.config(
                key: "window_size",
                found: "\(window)",
                expected: "at least \(config.layout.factor)"
            )
        }
    }

    /// `[n, D]` to `[n / M, output]`: normalised, M side by side.
    private static func merger(_ w: WeightScope, _ c: VisionConfig) throws -> (Tensor) -> Tensor {
        let width = c.hidden * c.merged
        let norm = try w.norm("ln_q", size: c.hidden, epsilon: 1e-6)
        let up = try w["mlp"].linear("0", from: width, to: width, bias: true)
        let down = try w["mlp"].linear("2", from: width, to: c.output, bias: true)
        return { x in
            down(up(norm(x).reshaped([(x.shape.first ?? 0) / c.merged, width])).gelu())
        }
    }

    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState {
        let (order, counts) = VisionPlaces.windows(tiles, merge: layout.merge, side: side)
        let places = order.flatMap { token in
            (0..<config.merged).map { token * config.merged + $0 }
        }
        return config.state(
            embedding(patches.to(config.dtype)).takingRows(places),  // [N, D]
            tiles,
            places: places.map { Int32(clamping: $0) },
            windows: counts.map { $0 * config.merged },
            order: order,
            mergers: 1
        )
    }

    func segments(_ block: Int, _ state: TowerState) -> Segments {
        whole.contains(block) ? state.tiles : state.windows
    }
}

extension VisionBlock {
    fileprivate init(qwen2_5 w: WeightScope, _ c: VisionConfig, inner: Int) throws {
        let before = try w.norm("norm1", size: c.hidden, epsilon: 1e-6)
        let between = try w.norm("norm2", size: c.hidden, epsilon: 1e-6)
        let mlp = SwiGLU(
            gateUp: try w["mlp"].linear(
                ["gate_proj", "up_proj"],
                from: c.hidden,
                to: [inner, inner],
                bias: true
            ),
            down: try w["mlp"].linear("down_proj", from: inner, to: c.hidden, bias: true)
        )
        try self.init(w["attn"], c, norm: { before($0) }, mlp: { mlp(between($0)) })
    }
}
