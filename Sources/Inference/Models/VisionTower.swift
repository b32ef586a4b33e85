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
    /// `[N, D]`.
    var x: Tensor
    /// Cosines and sines of the patches' places, `[N, E]`, and the row of each patch.
    let angles: Tensor
    let places: [Int32]
    /// Patches that see each other: those of a temporal patch, and those of a window.
    let tiles, windows: [Int]
    /// Where each token's merged patches stand; nil: in order.
    let order: [Int]?
    /// What goes into the language model's first layers.
    var deep: [Tensor] = []
}

/// A vision tower.
protocol VisionTower {
    var layout: PatchLayout { get }
    /// Positions of a second; 0 where time is written as text.
    var tokensPerSecond: Double { get }
    /// Blocks.
    var depth: Int { get }
    /// Patches `[N, columns]` of temporal patches as the first block wants them.
    func begin(_ patches: Tensor, _ tiles: [VisionTile]) -> TowerState
    /// One block.
    func run(_ block: Int, _ state: inout TowerState)
    /// Tokens in the order of the prompt.
    func end(_ state: TowerState) -> VisionFeatures
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
        let angles = Tensor.empty([count, size], .float32)
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
        return angles
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

/// Attention of a vision block: each patch sees all of its segment.
struct VisionAttention {
    let qkv, output: Linear
    let heads, headSize: Int

    init(_ w: WeightScope, hidden: Int, heads: Int) throws {
        qkv = try w.linear("qkv", from: hidden, to: 3 * hidden, bias: true)
        output = try w.linear("proj", from: hidden, to: hidden, bias: true)
        self.heads = heads
        headSize = hidden / heads
    }

    func callAsFunction(_ x: Tensor, _ state: TowerState, segments: [Int]) -> Tensor {
        let rows = qkv(x)  // [N, 3 · H · E]
        let turned = rows.rotated(
            column: 0,
            heads: 2 * heads,
            size: headSize,
            angles: state.angles,
            positions: state.places,
            wide: true
        )
        return output(turned.attention(heads: heads, size: headSize, segments: segments))  // [N, D]
    }
}

extension Tensor {
    /// A row-wise layer over so many rows at a time, so that its inner width does not fill the memory.
    func byRows(_ count: Int = 4096, _ layer: (Tensor) -> Tensor) -> Tensor {
        let rows = shape.first ?? 0
        guard rows > count else { return layer(self) }
        return .stacking(
            stride(from: 0, to: rows, by: count).map { start in
                layer(self.rows(start..<min(rows, start + count)))
            }
        )
    }
}
