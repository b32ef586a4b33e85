// Weights of a model's true shapes without a file of their size: what a benchmark loads.
//
// One page-cached file of noise is mapped again and again, so that a tensor of any size has bytes that differ
// from their neighbours, cost next to nothing and can be read like those of a checkpoint. Whoever loads them
// decodes, quantises and copies as from a disk whose pages are all in memory.

internal import Foundation
internal import Synchronization

/// Makes a tensor of any name and shape up: bfloat16, equal for equal names in every process.
///
/// Matrices and biases are noise of standard deviation 0.02, as checkpoints start their training; vectors that
/// scale a norm's rows are 1. Safe from any thread.
public final class InventedWeights: Sendable {
    private struct State {
        /// Bytes that `noise` is mapped for.
        var mapped = 0
        var shapes: [String: [Int]] = [:]
    }

    /// Of noise: a prime, so that rows rarely come again.
    private static let pages = 4093
    private static let page = 4096
    private static let tile = pages * page
    private static let onesBytes = 1 << 20
    /// Address space; the largest tensor of any model is far below.
    private static let reserved = 64 << 30

    private let file: Int32
    private let ones: UInt
    private let noise: UInt
    private let hasHead: Bool
    private let state = Mutex(State())

    /// - Throws: `CheckpointError` where the system gives no file or address space.
    init(tied: Bool) throws(CheckpointError) {
        hasHead = !tied
        let failure = CheckpointError(.missing, file: "noise", "cannot be made: no memory")
        guard let stream = tmpfile() else { throw failure }
        let number = dup(fileno(stream))
        fclose(stream)
        let size = Self.onesBytes + Self.tile
        guard number >= 0, ftruncate(number, off_t(size)) == 0,
            let whole = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0),
            whole != MAP_FAILED,
            let space = mmap(
                nil,
                Self.reserved,
                PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1,
                0
            ), space != MAP_FAILED
        else { throw failure }
        Self.fill(whole)
        munmap(whole, size)
        let flat = mmap(nil, Self.onesBytes, PROT_READ, MAP_SHARED, number, 0)
        guard let flat, flat != MAP_FAILED else { throw failure }
        file = number
        ones = UInt(bitPattern: flat)
        noise = UInt(bitPattern: space)
    }

    deinit {
        munmap(UnsafeMutableRawPointer(bitPattern: noise), Self.reserved)
        munmap(UnsafeMutableRawPointer(bitPattern: ones), Self.onesBytes)
        close(file)
    }

    /// Ones, then noise: four uniform numbers added up are near enough to a normal one.
    private static func fill(_ place: UnsafeMutableRawPointer) {
        let one = UInt16(Float(1).bitPattern >> 16)
        let values = place.bindMemory(to: UInt16.self, capacity: (onesBytes + tile) / 2)
        for index in 0..<onesBytes / 2 { values[index] = one }
        // SplitMix64.
        var seed: UInt64 = 7
        let scale = Float(0.02 / 37_837.2)
        for index in onesBytes / 2..<(onesBytes + tile) / 2 {
            seed &+= 0x9e37_79b9_7f4a_7c15
            var mixed = (seed ^ seed >> 30) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
            mixed ^= mixed >> 31
            let sum = Int32(mixed & 0xffff) &+ Int32(mixed >> 16 & 0xffff)
            let more = Int32(mixed >> 32 & 0xffff) &+ Int32(mixed >> 48)
            let value = Float(sum &+ more &- 131_070) * scale
            values[index] = UInt16(value.bitPattern >> 16)
        }
    }

    /// Whether a checkpoint of the model would have the tensor.
    ///
    /// True for all but a head where the embedding serves, and for what only GGUF files have.
    public func has(_ name: String) -> Bool {
        name != "rope_freqs.weight" && (hasHead || !name.hasSuffix("lm_head.weight"))
    }

    /// Shapes of the tensors that were asked for.
    public var shapes: [String: [Int]] { state.withLock { $0.shapes } }

    /// The tensor `name` of `shape`; nil where no model has one so large.
    public func entry(_ name: String, _ shape: [Int]) -> TensorEntry? {
        guard let bytes = TensorFormat.bfloat16.byteCount(of: shape) else { return nil }
        let isScale = shape.count == 1 && name.hasSuffix("weight") && bytes <= Self.onesBytes
        let start = isScale ? 0 : Self.offset(name)
        guard isScale || map(start + bytes) else { return nil }
        state.withLock { $0.shapes[name] = shape }
        let base = UnsafeRawPointer(bitPattern: isScale ? ones : noise)
        return TensorEntry(
            name: name,
            format: .bfloat16,
            shape: shape,
            bytes: UnsafeRawBufferPointer(start: base.map { $0 + start }, count: bytes),
            ropePermutedHeads: nil,
            file: "invented"
        )
    }

    /// Where in the noise a name begins.
    private static func offset(_ name: String) -> Int {
        let hash = name.utf8.reduce(5381 as UInt64) { $0 &* 33 &+ UInt64($1) }
        return Int(hash % UInt64(pages)) * page
    }

    /// Has the first `bytes` of the noise mapped.
    private func map(_ bytes: Int) -> Bool {
        state.withLock { state in
            while state.mapped < bytes {
                let place = UnsafeMutableRawPointer(bitPattern: noise + UInt(state.mapped))
                guard state.mapped + Self.tile <= Self.reserved,
                    mmap(
                        place,
                        Self.tile,
                        PROT_READ,
                        MAP_SHARED | MAP_FIXED,
                        file,
                        off_t(Self.onesBytes)
                    ) != MAP_FAILED
                else { return false }
                state.mapped += Self.tile
            }
            return true
        }
    }
}
