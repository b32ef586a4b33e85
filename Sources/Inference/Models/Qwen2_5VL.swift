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
            try ConfigReader(reader).sections(headSize: decoder.headSize, otherwise: [16, 24, 24])
        )
        return decoder
    }
}

/// Qwen2.5-VL's vision tower.
struct Qwen2_5VLTower: VisionTower {
    private let config: VisionConfig
    private let embedding: Linear
    private let blocks: [Qwen2_5VLBlock]
    private let norm: RMSNorm
    private let up, down: Linear
    private let whole: Set<Int>
    private let side: Int
    let tokensPerSecond: Double

    var layout: PatchLayout { config.layout }
    var depth: Int { blocks.count }

    init(_ reader: WeightReader) throws {
        let config = try VisionConfig(reader, patch: 14)
        let fields = config.fields
        self.config = config
        let w = WeightScope.vision(of: reader)
        embedding = try w["patch_embed"].patches(config, bias: false)
        let inner = try fields.int("intermediate_size", in: 1...1_048_576)
        blocks = try (0..<config.depth).map {
            try Qwen2_5VLBlock(w["blocks.\($0)"], config, inner: inner)
        }
        let merged = config.hidden * config.merged
        norm = try w["merger"].norm("ln_q", size: config.hidden, epsilon: 1e-6)
        up = try w["merger.mlp"].linear("0", from: merged, to: merged, bias: true)
        down = try w["merger.mlp"].linear("2", from: merged, to: config.output, bias: true)
        whole = Set(try fields.indexes("fullatt_block_indexes", below: config.depth))
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

    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState {
        let merge = layout.merge
        let (order, counts) = VisionPlaces.windows(tiles, merge: merge, side: side)
        let places = order.flatMap { token in
            (0..<config.merged).map { token * config.merged + $0 }
        }
        let x = embedding(patches.to(config.dtype))  // [N, D]
        return TowerState(
            x: x.takingRows(places),
            angles: config.angles(tiles),
            places: places.map { Int32(clamping: $0) },
            tiles: tiles.map(\.count),
            windows: counts.map { $0 * config.merged },
            order: order
        )
    }

    func run(_ block: Int, _ state: inout TowerState) {
        let segments = whole.contains(block) ? state.tiles : state.windows
        state.x = blocks[block](state, segments: segments)
    }

    func end(_ state: TowerState) -> VisionFeatures {
        let width = config.hidden * config.merged
        let rows = norm(state.x).reshaped([state.x.shape[0] / config.merged, width])
        let tokens = down(up(rows).gelu())  // [N / M, output]
        var back = [Int](repeating: 0, count: tokens.shape.first ?? 0)
        for (place, token) in (state.order ?? []).enumerated() where token < back.count {
            back[token] = place
        }
        return VisionFeatures(rows: tokens.takingRows(back))
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
private struct Qwen2_5VLBlock {
    private let inputNorm, outputNorm: RMSNorm
    private let attention: VisionAttention
    private let mlp: SwiGLU

    init(_ w: WeightScope, _ c: VisionConfig, inner: Int) throws {
        inputNorm = try w.norm("norm1", size: c.hidden, epsilon: 1e-6)
        outputNorm = try w.norm("norm2", size: c.hidden, epsilon: 1e-6)
        attention = try VisionAttention(w["attn"], hidden: c.hidden, heads: c.heads)
        mlp = SwiGLU(
            gateUp: try w["mlp"].linear(
                ["gate_proj", "up_proj"],
                from: c.hidden,
                to: [inner, inner],
                bias: true
            ),
            down: try w["mlp"].linear("down_proj", from: inner, to: c.hidden, bias: true)
        )
    }

    func callAsFunction(_ state: TowerState, segments: [Int]) -> Tensor {
        let h = state.x + attention(inputNorm(state.x), state, segments: segments)
        return h + outputNorm(h).byRows { mlp($0) }
    }
}
