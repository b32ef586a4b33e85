package import CTorch
internal import Torch

/// What linear attention remembers of one sequence: the same memory however long it is.
///
/// Each layer and head has the sums of all full blocks of 16 positions, and the queries and values of the
/// open block. Positions of the open block can be taken back, earlier ones only all together.
public final class RecurrentState: SequenceState {
    /// Positions of one block.
    private static let blockSize = 16

    /// What the states of one model have in common.
    public struct Shape: Equatable, Sendable {
        /// Layers.
        public var layers: Int
        /// Heads of a layer.
        public var heads: Int
        /// Width of a head's queries.
        public var width: Int
        /// Width of the values, which the heads share.
        public var size: Int

        /// A shape from its parts.
        public init(layers: Int, heads: Int, width: Int, size: Int) {
            self.layers = layers
            self.heads = heads
            self.width = width
            self.size = size
        }

        var sums: Int { heads * width * size }
        var queries: Int { heads * RecurrentState.blockSize * width }
        var values: Int { heads * RecurrentState.blockSize * size }
        /// Bytes of one state.
        public var bytes: Int { layers * (sums + queries + values) * 4 }
    }

    /// The model's shape.
    public let shape: Shape
    /// The most positions.
    public let capacity: Int
    /// Positions held.
    public private(set) var length = 0
    /// For each layer sums of all heads, then queries and values of all heads; then slack.
    ///
    /// Heads see the same values and are computed one after the other, so that each needs its own.
    private let storage: Tensor
    /// Elements behind the last layer: whole pages are given back, and the last one holds no sums.
    private static let slack = 16_384

    /// A state without positions; memory counts only as it is written.
    public init(_ shape: Shape, capacity: Int) {
        self.shape = shape
        self.capacity = max(0, capacity)
        storage = .reserved([shape.bytes / 4 + Self.slack], .float32)
    }

    /// The run of `count` new rows of one head, for the kernel; nil where there is no memory.
    package func run(layer: Int, head: Int, count: Int) -> tg_recurrence? {
        // On the device its memory comes with the first rows, after a release again.
        if layer == 0, head == 0, storage.isOnDevice {
            guard storage.commit(offset: 0, bytes: shape.bytes) else { return nil }
        }
        guard let base = memory(of: layer) else { return nil }
        let rows = base + shape.sums
        return tg_recurrence(
            sums: base + head * shape.width * shape.size,
            queries: rows + head * Self.blockSize * shape.width,
            values: rows + shape.queries + head * Self.blockSize * shape.size,
            start: Int64(length),
            count: Int64(count)
        )
    }

    private func memory(of layer: Int) -> UnsafeMutablePointer<Float>? {
        let stride = shape.sums + shape.queries + shape.values
        return storage.address.map { $0.assumingMemoryBound(to: Float.self) + layer * stride }
    }

    /// Counts rows that the kernels of every layer have taken up.
    package func advance(by count: Int) { length = min(capacity, length + count) }

    /// Whether the sums hold nothing that lies behind the first `count` positions.
    private func reaches(back count: Int) -> Bool {
        count >= length / Self.blockSize * Self.blockSize
    }

    /// Forgets every position from `length` on, or all of them where sums cannot be taken back so far.
    public func truncate(to length: Int) {
        guard length < self.length else { return }
        if reaches(back: length) { self.length = length } else { release() }
    }

    /// Becomes a copy of the first `count` positions of `other`, or of none where its sums go further.
    public func copy(from other: any SequenceState, count: Int) {
        guard let other = other as? RecurrentState, other.shape == shape, other !== self else {
            if other !== self { Torch.fail("copying a sequence state of another model") }
            return
        }
        release()
        let kept = max(0, min(count, other.length, capacity))
        guard kept > 0, other.reaches(back: kept) else { return }
        if storage.isOnDevice {
            guard storage.commit(offset: 0, bytes: shape.bytes) else { return }
            storage.copyBytes(from: other.storage, count: shape.bytes)
            length = kept
            return
        }
        for layer in 0..<shape.layers {
            guard let from = other.memory(of: layer), let to = memory(of: layer) else { return }
            // Sums that no block has entered are nothing but zeros.
            let first = kept < Self.blockSize ? shape.sums : 0
            let count = shape.sums + shape.queries + shape.values - first
            (to + first).update(from: from + first, count: count)
        }
        length = kept
    }

    /// Forgets everything and gives the memory back.
    public func release() {
        length = 0
        storage.discard(offset: 0, bytes: shape.bytes + 4 * Self.slack)
    }
}
