public import NN
public import Torch
public import Vision

/// One image or clip as a vision tower reads it.
public struct VisionInput {
    /// Its patches along time, height and width.
    public let grid: PatchGrid
    /// The rows of one temporal patch, `[height · width, columns]` in float32, by its index.
    public let patches: (Int) -> Tensor

    /// A medium of `grid`, whose rows are made when the tower comes to them.
    public init(grid: PatchGrid, patches: @escaping (Int) -> Tensor) {
        self.grid = grid
        self.patches = patches
    }
}

/// A language model that also takes images and clips.
///
/// Used on the engine thread only.
public protocol VisionLanguageModel: CausalLanguageModel {
    /// How its tower cuts pixels into patches and merges these into tokens.
    var patchLayout: PatchLayout { get }
    /// Positions that a second of a clip takes, where time counts in positions.
    var tokensPerSecond: Double { get }
    /// Starts the tower over some media; each must fit `patchLayout`.
    func makePass(_ inputs: [VisionInput]) -> VisionPass
}

/// A tower at work over some media, which can be left after some rows of a block.
///
/// Nothing in a tower sees beyond one temporal patch: these pass through in groups, whatever medium they
/// are of. In float32 a medium's features do not depend on what else is in the pass.
public final class VisionPass {
    /// Rows that pass through together, unless one temporal patch has more.
    private static let groupRows = 1024
    /// Rows that as many may see at once.
    private static let seenRows = 4096
    /// Rows of a stage that are worked on at once; a multiple of them is a whole number of tokens.
    private let sliceRows: Int

    private struct Tile {
        let medium, time: Int
        let size: VisionTile
    }

    private let tower: any VisionTower
    private let inputs: [VisionInput]
    private var tiles: [Tile] = []
    private var next = 0
    private var state: TowerState?
    private var stage = 0
    private var row = 0
    private var parts: [VisionFeatures] = []

    init(_ tower: any VisionTower, _ inputs: [VisionInput]) {
        self.tower = tower
        self.inputs = inputs
        let merge = tower.layout.merge
        sliceRows = max(1, Self.groupRows / (merge * merge)) * merge * merge
        for (medium, input) in inputs.enumerated() {
            let grid = input.grid
            guard grid.time > 0, grid.height > 0, grid.width > 0, grid.height % merge == 0,
                grid.width % merge == 0
            else {
                Torch.fail("a medium of \(grid.height) × \(grid.width) patches")
                continue
            }
            let size = VisionTile(height: grid.height, width: grid.width)
            tiles += (0..<grid.time).map { Tile(medium: medium, time: $0, size: size) }
        }
    }

    /// Works for one block of a small group, or for some rows of a large one; true once all media have passed.
    ///
    /// Failures are sticky: call inside `Torch.checked`.
    public func advance() -> Bool {
        guard var group = state ?? begin() else { return true }
        let count = group.places.count
        // A block has two stages.
        var budget = 2 * sliceRows
        while budget > 0, stage < tower.stages.count {
            let slice = slice(of: tower.stages[stage], group)
            let rows = row..<min(row + slice, count)
            tower.run(tower.stages[stage], rows, &group)
            budget -= rows.count * (sliceRows / slice)
            row = rows.upperBound
            guard row == count else { continue }
            row = 0
            stage += 1
            if case .mix = tower.stages[stage - 1] { break }
        }
        guard stage == tower.stages.count else {
            state = group
            return false
        }
        state = nil
        parts.append(end(group))
        return next == tiles.count
    }

    /// Fewer rows where each has very many to see.
    private func slice(of stage: TowerStage, _ group: TowerState) -> Int {
        guard case .mix(let block) = stage else { return sliceRows }
        let seen = tower.segments(block, group).longest
        return max(min(64, sliceRows), sliceRows * Self.seenRows / max(Self.seenRows, seen))
    }

    private func end(_ group: TowerState) -> VisionFeatures {
        var tokens = group.merged.map { Tensor.stacking($0) }
        if let order = group.order {
            var back = [Int](repeating: 0, count: order.count)
            for (place, token) in order.enumerated() where back.indices.contains(token) {
                back[token] = place
            }
            tokens = tokens.map { $0.takingRows(back) }
        }
        let rows = tokens.popLast() ?? .undefined
        return VisionFeatures(rows: rows, deep: tokens)
    }

    private func begin() -> TowerState? {
        guard next < tiles.count else { return nil }
        var rows = 0
        var group: [Tile] = []
        while next < tiles.count {
            let tile = tiles[next]
            guard group.isEmpty || rows + tile.size.count <= Self.groupRows else { break }
            rows += tile.size.count
            group.append(tile)
            next += 1
        }
        stage = 0
        row = 0
        let sources = group.map { inputs[$0.medium].patches($0.time) }
        return tower.begin(Tensor.stacking(sources), group.map(\.size))
    }

    /// One for each medium, once `advance` has said true.
    public var features: [VisionFeatures] {
        let rows = Tensor.stacking(parts.map(\.rows))
        let deep = (0..<(parts.first?.deep.count ?? 0)).map { level in
            Tensor.stacking(parts.map { $0.deep[level] })
        }
        var start = 0
        return inputs.map { input in
            let count = input.grid.tokens(merge: tower.layout.merge)
            defer { start += count }
            let range = start..<start + count
            // A copy: what is kept of one medium must not keep the others.
            return VisionFeatures(
                rows: Tensor.stacking([rows.rows(range)]),
                deep: deep.map { Tensor.stacking([$0.rows(range)]) }
            )
        }
    }
}

extension Tensor {
    /// Matrices of one width below each other, in memory of their own.
    static func stacking(_ parts: [Tensor]) -> Tensor {
        guard let first = parts.first, let dtype = first.dtype, let width = first.shape.last else {
            return .undefined
        }
        let all = Tensor.empty([parts.reduce(0) { $0 + ($1.shape.first ?? 0) }, width], dtype)
        var row = 0
        for part in parts {
            all.put(part, at: row)
            row += part.shape.first ?? 0
        }
        return all
    }
}
