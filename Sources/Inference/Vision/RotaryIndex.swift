/// One image or clip of a prompt, as positions see it.
public struct MediaSpan: Sendable, Equatable {
    /// Where its placeholders stand, in order: one range, or one for each temporal patch.
    public var spans: [Range<Int>]
    /// Its patches.
    public var grid: PatchGrid
    /// Seconds from one temporal patch to the next; nil for images and where time is written as text.
    public var secondsPerGrid: Double?

    /// A medium at `spans`.
    public init(spans: [Range<Int>], grid: PatchGrid, secondsPerGrid: Double? = nil) {
        self.spans = spans
        self.grid = grid
        self.secondsPerGrid = secondsPerGrid
    }
}

/// Positions of a prompt along time, height and width: M-RoPE, as Qwen2-VL introduced it in 2024.
///
/// Text counts all three up together. A medium counts its rows and columns from where the text stands,
/// and the text goes on behind the highest of them.
public struct RotaryIndex: Sendable, Equatable {
    /// How a clip's time counts.
    public enum TimeRule: String, Sendable, Equatable {
        /// By its seconds, and the text goes on behind the latest: Qwen2.5-VL as it was published.
        case original
        /// By whole seconds a patch, and the text goes on behind rows and columns alone: transformers 5.17.
        case hf517
    }

    /// Time, height, width: one position a token each.
    public let axes: [[Int32]]
    /// Added to a later token's index in the sequence gives its position on every axis.
    public let delta: Int32

    /// The positions of a prompt of `count` tokens.
    ///
    /// `media` in the order of their placeholders; `merge` patches make one row or column of tokens.
    /// - Throws: `GeometryError` where spans and grids do not fit the prompt.
    public init(
        count: Int,
        media: [MediaSpan],
        merge: Int,
        tokensPerSecond: Double,
        rule: TimeRule = .original
    ) throws(GeometryError) {
        var axes: [[Int32]] = [[], [], []]
        for axis in axes.indices { axes[axis].reserveCapacity(count) }
        var next = 0
        func text(upTo end: Int) {
            let length = end - axes[0].count
            for axis in axes.indices {
                for step in 0..<max(0, length) { axes[axis].append(Int32(clamping: next + step)) }
            }
            next += max(0, length)
        }
        for medium in media {
            let grid = medium.grid
            guard merge > 0, grid.time > 0, grid.height >= merge, grid.width >= merge,
                !medium.spans.isEmpty, grid.time % medium.spans.count == 0
            else { throw .settings("a grid that its placeholders do not fit") }
            let (rows, columns) = (grid.height / merge, grid.width / merge)
            let frames = grid.time / medium.spans.count
            let times = Self.times(frames, medium.secondsPerGrid, tokensPerSecond, rule)
            for span in medium.spans {
                guard span.lowerBound >= axes[0].count, span.upperBound <= count,
                    span.count == frames * rows * columns
                else { throw .settings("placeholders that do not fit the grid") }
                text(upTo: span.lowerBound)
                for time in times {
                    for row in 0..<rows {
                        for column in 0..<columns {
                            axes[0].append(Int32(clamping: next + time))
                            axes[1].append(Int32(clamping: next + row))
                            axes[2].append(Int32(clamping: next + column))
                        }
                    }
                }
                let last = rule == .original ? times.last ?? 0 : 0
                next += max(rows, columns, last + 1)
            }
        }
        text(upTo: count)
        self.axes = axes
        let highest = axes.reduce(Int32(-1)) { max($0, $1.max() ?? -1) }
        delta = highest &+ 1 &- Int32(clamping: count)
    }

    private static func times(
        _ frames: Int,
        _ seconds: Double?,
        _ tokensPerSecond: Double,
        _ rule: TimeRule
    ) -> [Int] {
        guard let seconds else { return Array(repeating: 0, count: frames) }
        func whole(_ value: Double) -> Int { Int(max(0, min(value, 1e9))) }
        return (0..<frames).map { index in
            switch rule {
            case .original: whole((Double(index) * seconds * tokensPerSecond).rounded(.down))
            case .hf517: index * whole(tokensPerSecond * seconds.rounded(.towardZero))
            }
        }
    }
}
