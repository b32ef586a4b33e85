package import CTorch
public import Torch

/// The keys and values of one sequence in every layer: one contiguous slot of address space.
///
/// Layout `[layers, blocks, keyHeads, 2, 64 · headSize]`: 64 positions a block, keys transposed; on the
/// device `[capacity, layers, 2, keyHeads, headSize]`, so that memory grows at the end alone. Only what
/// positions need counts as memory; those at and beyond `length` are never read.
public final class KVState: SequenceState {
    /// Positions of one block.
    public static let blockSize = 64

    /// What slots of one model have in common.
    public struct Shape: Equatable, Sendable {
        /// Decoder layers.
        public var layers: Int
        /// Key-value heads of a layer.
        public var keyHeads: Int
        /// Width of a head.
        public var headSize: Int
        /// Type of the elements.
        public var dtype: Tensor.DType

        /// A shape from its parts.
        public init(layers: Int, keyHeads: Int, headSize: Int, dtype: Tensor.DType) {
            self.layers = layers
            self.keyHeads = keyHeads
            self.headSize = headSize
            self.dtype = dtype
        }

        /// Bytes of one position in all layers.
        public var bytesPerToken: Int { layers * keyHeads * 2 * headSize * dtype.size }
        /// Bytes of one block in one layer.
        var blockBytes: Int { keyHeads * 2 * KVState.blockSize * headSize * dtype.size }
    }

    /// The model's shape.
    public let shape: Shape
    /// The most positions.
    public let capacity: Int
    /// Positions held.
    public private(set) var length = 0
    private let blocks: Int
    private let storage: Tensor
    private let isOnDevice: Bool

    /// A row of the device that belongs to no sequence: it writes nowhere and sees nothing.
    init(padding shape: Shape) {
        self.shape = shape
        capacity = 1
        blocks = 0
        storage = .undefined
        isOnDevice = true
    }

    /// An empty slot for `capacity` positions.
    public init(_ shape: Shape, capacity: Int) {
        self.shape = shape
        self.capacity = max(0, capacity)
        blocks = (self.capacity + KVState.blockSize - 1) / KVState.blockSize
        storage = .reserved(
            Device.isUsed
                ? [self.capacity, shape.layers, 2, shape.keyHeads, shape.headSize]
                : [shape.layers, blocks, shape.keyHeads, 2, KVState.blockSize * shape.headSize],
            shape.dtype
        )
        isOnDevice = storage.isOnDevice
    }

    /// The run of `count` new rows in `layer`, for the attention kernel.
    ///
    /// On the device layer 0 gets the memory for them; where there is none, that is the sticky error.
    package func run(layer: Int, count: Int) -> tg_run {
        var hasMemory = true
        if isOnDevice, layer == 0, storage.isDefined {
            hasMemory = storage.commit(
                offset: length * shape.bytesPerToken,
                bytes: min(count, capacity - length) * shape.bytesPerToken
            )
        }
        return tg_run(
            cache: isOnDevice
                ? storage.address : storage.data.map { $0 + layer * blocks * shape.blockBytes },
            // A run without room is refused before anything is written.
            capacity: hasMemory ? Int64(capacity) : 0,
            start: Int64(length),
            count: Int64(count),
            layer: Int64(layer),
            layers: Int64(shape.layers)
        )
    }

    /// Counts rows that the kernels of every layer have written.
    package func advance(by count: Int) { length = min(capacity, length + count) }

    /// Forgets every position from `length` on; whole blocks of memory go back to the system.
    public func truncate(to length: Int) {
        guard length < self.length else { return }
        let kept = max(0, length)
        discard(from: kept, to: self.length)
        self.length = kept
    }

    /// Becomes a copy of the first `count` positions of `other`, a slot of the same shape.
    public func copy(from other: any SequenceState, count: Int) {
        guard let other = other as? KVState, other.shape == shape, other !== self,
            other.isOnDevice == isOnDevice, let from = other.storage.address,
            let to = storage.address
        else {
            if other !== self { Torch.fail("copying a sequence state of another model") }
            return
        }
        let kept = max(0, min(count, other.length, capacity))
        truncate(to: 0)
        if isOnDevice {
            guard storage.commit(offset: 0, bytes: kept * shape.bytesPerToken) else { return }
            storage.copyBytes(from: other.storage, count: kept * shape.bytesPerToken)
            length = kept
            return
        }
        let bytes = (kept + KVState.blockSize - 1) / KVState.blockSize * shape.blockBytes
        for layer in 0..<shape.layers {
            (to + layer * blocks * shape.blockBytes).copyMemory(
                from: from + layer * other.blocks * shape.blockBytes,
                byteCount: bytes
            )
        }
        length = kept
    }

    /// Forgets everything and gives the memory back.
    public func release() {
        discard(from: 0, to: capacity)
        length = 0
    }

    private func discard(from start: Int, to end: Int) {
        if isOnDevice {
            storage.discard(
                offset: start * shape.bytesPerToken,
                bytes: (end - start) * shape.bytesPerToken
            )
            return
        }
        let first = (start + KVState.blockSize - 1) / KVState.blockSize
        let last = (end + KVState.blockSize - 1) / KVState.blockSize
        guard last > first else { return }
        for layer in 0..<shape.layers {
            storage.discard(
                offset: (layer * blocks + first) * shape.blockBytes,
                bytes: (last - first) * shape.blockBytes
            )
        }
    }
}
