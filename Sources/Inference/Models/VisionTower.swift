// What the vision towers share: their blocks' attention, where patches lie, windows, merged patches.
//
// N patches of a group · D hidden · H heads · E head size · M patches merged into a token

#if canImport(Glibc)
import Glibc
#endif
import NN
import Torch
import Vision

/// One temporal patch: rows and columns of patches.
struct VisionTile {
    let height, width: Int
    var count: Int { height * width }
}

/// A group of temporal patches on its way through a tower.
struct TowerState {
    /// `[N, D]`; blocks write into it.
    let x: Tensor
    /// Cosines and sines of the patches' places, `[N, E]`, and the row of each patch.
    let angles: Tensor
    let places: [Int32]
    /// Patches that see each other: those of a temporal patch, and those of a window.
    let tiles, windows: Segments
    /// Where each token's merged patches stand; nil: in order.
    let order: [Int]?
    /// Keys and values of the block at hand.
    let memory: SegmentMemory
    /// What each merger has made so far.
    var merged: [[Tensor]]
}

/// What a tower does with all rows of a group before it goes on, some rows at a time.
enum TowerStage {
    /// Keys and values of a block.
    case keep(Int)
    /// The rest of a block, in place.
    case mix(Int)
    /// The tokens of a merger.
    case merge(Int)
}

/// A vision tower.
protocol VisionTower {
    var layout: PatchLayout { get }
    /// Positions of a second; 0 where time is written as text.
    var tokensPerSecond: Double { get }
    var blocks: [VisionBlock] { get }
    /// `[n, D]` to tokens; the last one makes the embeddings, those before it what deeper layers get.
    var mergers: [(Tensor) -> Tensor] { get }
    /// Blocks and mergers in their order.
    var stages: [TowerStage] { get }
    /// Patches `[N, columns]` of temporal patches as the first block wants them.
    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState
    /// The patches that see each other in a block.
    func segments(_ block: Int, _ state: TowerState) -> Segments
}

extension VisionTower {
    /// Does a stage's work for some rows.
    func run(_ stage: TowerStage, _ rows: Range<Int>, _ state: inout TowerState) {
        switch stage {
        case .keep(let block): blocks[block].keep(rows, segments(block, state), state)
        case .mix(let block): blocks[block].mix(rows, segments(block, state), state)
        case .merge(let index): state.merged[index].append(mergers[index](state.x.rows(rows)))
        }
    }
}

/// Where the patches of a group lie.
enum VisionPlaces {
    /// Row and column of each patch of a tile, in blocks of `merge` × `merge`.
    static func patches(_ tile: VisionTile, merge: Int) -> [(row: Int, column: Int)] {
        var places: [(row: Int, column: Int)] = []
        places.reserveCapacity(tile.count)
        for top in stride(from: 0, to: tile.height, by: merge) {
            for left in stride(from: 0, to: tile.width, by: merge) {
                for row in top..<top + merge {
                    for column in left..<left + merge { places.append((row, column)) }
                }
            }
        }
        return places
    }

    /// `[N, size]`: cosines, then sines; half of the frequencies turn with the row, half with the column.
    static func angles(_ tiles: [VisionTile], merge: Int, size: Int, base: Float) -> Tensor {
        let quarter = size / 4
        let half = size / 2
        let frequencies = (0..<quarter).map { 1 / powf(base, Float(2 * $0) / Float(half)) }
        let count = tiles.reduce(0) { $0 + $1.count }
        let angles = Tensor.emptyOnCPU([count, size], .float32)
        guard let data = angles.data?.assumingMemoryBound(to: Float.self) else { return angles }
        // A row's and a column's turns are the same wherever they meet.
        let longest = tiles.reduce(1) { max($0, $1.height, $1.width) }
        var cosines = [Float](repeating: 0, count: longest * quarter)
        var sines = cosines
        for place in 0..<longest {
            for index in 0..<quarter {
                cosines[place * quarter + index] = cosf(Float(place) * frequencies[index])
                sines[place * quarter + index] = sinf(Float(place) * frequencies[index])
            }
        }
        var entry = data
        for tile in tiles {
            for (row, column) in patches(tile, merge: merge) {
                for index in 0..<quarter {
                    entry[index] = cosines[row * quarter + index]
                    entry[quarter + index] = cosines[column * quarter + index]
                    entry[half + index] = sines[row * quarter + index]
                    entry[half + quarter + index] = sines[column * quarter + index]
                }
                entry += size
            }
        }
        return angles.placed()
    }

    /// Tokens window by window, and the tokens of each window; windows are `side` tokens wide and high.
    static func windows(_ tiles: [VisionTile], merge: Int, side: Int) -> (
        order: [Int], counts: [Int]
    ) {
        var order: [Int] = []
        var counts: [Int] = []
        var start = 0
        for tile in tiles {
            let (rows, columns) = (tile.height / merge, tile.width / merge)
            for top in stride(from: 0, to: rows, by: side) {
                for left in stride(from: 0, to: columns, by: side) {
                    let before = order.count
                    for row in top..<min(top + side, rows) {
                        for column in left..<min(left + side, columns) {
                            order.append(start + row * columns + column)
                        }
                    }
                    counts.append(order.count - before)
                }
            }
            start += rows * columns
        }
        return (order, counts)
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
///
/// All rows are kept before the first is mixed.
struct VisionBlock {
    private let norm: (Tensor) -> Tensor
    private let queries, keysValues, output: Linear
    private let mlp: (Tensor) -> Tensor
    private let heads, headSize: Int

    /// `norm` goes before the attention, whose weights lie at `w`; `mlp` normalises its own input.
    init(
        _ w: WeightScope,
        _ c: VisionConfig,
        norm: @escaping (Tensor) -> Tensor,
        mlp: @escaping (Tensor) -> Tensor
    ) throws {
        let weight = try w.tensor("qkv.weight", [3 * c.hidden, c.hidden])
        let bias = try w.tensor("qkv.bias", [3 * c.hidden])
        let (first, others) = (0..<c.hidden, c.hidden..<3 * c.hidden)
        queries = Linear(.dense(weight.rows(first)), bias: bias.rows(first))
        keysValues = Linear(.dense(weight.rows(others)), bias: bias.rows(others))
        output = try w.linear("proj", from: c.hidden, to: c.hidden, bias: true)
        heads = c.heads
        headSize = c.hidden / c.heads
        self.norm = norm
        self.mlp = mlp
    }

    func keep(_ rows: Range<Int>, _ segments: Segments, _ state: TowerState) {
        let pairs = keysValues(norm(state.x.rows(rows)))  // [n, 2 · H · E]
        state.memory.keep(turned(pairs, rows, state), at: rows.lowerBound, in: segments)
    }

    func mix(_ rows: Range<Int>, _ segments: Segments, _ state: TowerState) {
        let x = state.x.rows(rows)  // [n, D]
        let asked = turned(queries(norm(x)), rows, state)  // [n, H · E]
        let h = x + output(state.memory.attend(asked, at: rows.lowerBound, in: segments))
        state.x.put(h + mlp(h), at: rows.lowerBound)
    }

    /// The first heads of `rows`, rotated by the patches' places.
    private func turned(_ x: Tensor, _ rows: Range<Int>, _ state: TowerState) -> Tensor {
        x.rotated(
            column: 0,
            heads: heads,
            size: headSize,
            angles: state.angles,
            positions: Array(state.places[rows]),
            wide: true
        )
    }
}
