internal import CLinux
internal import Glibc

/// An encoded image or clip in a file of its own: memory, or an operator's file opened for reading.
///
/// Decoders get the descriptor, so that the bytes are never copied.
package final class EncodedBytes: Sendable {
    package let descriptor: Int32
    package let count: Int

    /// Takes the descriptor over.
    init(descriptor: Int32, count: Int) {
        self.descriptor = descriptor
        self.count = count
    }

    deinit { close(descriptor) }

    /// Room for `capacity` bytes that `fill` writes to; it says how many there are, nil where they are bad.
    static func memory(
        capacity: Int,
        _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Int?
    ) throws(MediaError) -> EncodedBytes? {
        let descriptor = tg_memfd("media")
        guard descriptor >= 0 else { throw .busy }
        guard capacity > 0 else { return EncodedBytes(descriptor: descriptor, count: 0) }
        guard ftruncate(descriptor, capacity) == 0,
            let mapped = mmap(nil, capacity, PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0),
            mapped != MAP_FAILED
        else {
            close(descriptor)
            throw .busy
        }
        let room = UnsafeMutableBufferPointer(
            start: mapped.assumingMemoryBound(to: UInt8.self),
            count: capacity
        )
        let count = fill(room)
        munmap(mapped, capacity)
        guard let count, count <= capacity, ftruncate(descriptor, count) == 0 else {
            close(descriptor)
            return nil
        }
        return EncodedBytes(descriptor: descriptor, count: count)
    }
}
