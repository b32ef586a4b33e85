public import Torch

/// Consecutive rows that see each other and nothing else.
public struct Segments: Equatable, Sendable {
    let lengths: [Int64]
    /// Rows of all.
    public let rows: Int
    /// Rows of the longest.
    public let longest: Int
    /// Blocks of 64 rows, begun ones too.
    let blocks: Int

    /// Segments of so many rows each, at least one.
    public init(_ lengths: [Int]) {
        self.lengths = lengths.map(Int64.init)
        rows = lengths.reduce(0, +)
        longest = lengths.max() ?? 0
        blocks = lengths.reduce(0) { $0 + ($1 + 63) / 64 }
    }
}

/// The keys and values of one layer's segments: attention without order, row by row as one likes.
///
/// In float32 an answer's bits depend on its segment alone.
public final class SegmentMemory {
    private let heads, size: Int
    private let cache: Tensor

    /// Room for any of `layouts`.
    public init(_ layouts: [Segments], heads: Int, size: Int, dtype: Tensor.DType) {
        self.heads = heads
        self.size = size
        let blocks = layouts.map(\.blocks).max() ?? 0
        cache = .zeros([blocks, 2 * 64 * heads * size], dtype)
    }

    /// Takes keys and values `[n, 2 · heads · size]` of rows `start` and on, in place of what was there.
    public func keep(_ rows: Tensor, at start: Int, in segments: Segments) {
        rows.keepSegments(
            in: cache,
            at: start,
            heads: heads,
            size: size,
            lengths: segments.lengths
        )
    }

    /// Queries `[n, heads · size]` of rows `start` and on to their answers; all rows have been kept.
    public func attend(_ queries: Tensor, at start: Int, in segments: Segments) -> Tensor {
        queries.segmentAttention(
            over: cache,
            at: start,
            heads: heads,
            size: size,
            lengths: segments.lengths
        )
    }
}
