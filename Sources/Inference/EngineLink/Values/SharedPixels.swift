internal import CLinux
internal import Glibc

/// Pixels in a sealed memory file, which processes share without copying.
///
/// Safe from any thread: the file is sealed, so that nobody can change or shrink it.
public final class SharedPixels: Sendable {
    /// Length of the file.
    public let byteCount: Int
    /// Open for as long as the value lives; -1 where only the mapping was kept.
    package let descriptor: Int32
    private let address: UInt

    /// Takes over a memory file of `byteCount` bytes; it must be sealed against writing and shrinking.
    ///
    /// The descriptor is closed in any case: now where `keepsDescriptor` is false or the file is refused.
    /// - Throws: `ProtocolError`.
    public init(descriptor: Int32, byteCount: Int, keepsDescriptor: Bool = true)
        throws(ProtocolError)
    {
        var info = stat()
        guard byteCount > 0, fstat(descriptor, &info) == 0, info.st_size == byteCount,
            tg_memfd_is_sealed(descriptor) != 0,
            // Private: before Linux 6.7 a shared mapping of a write-sealed file is refused.
            let mapped = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0),
            mapped != MAP_FAILED
        else {
            close(descriptor)
            throw ProtocolError("pixels are no sealed file of their size")
        }
        if !keepsDescriptor { close(descriptor) }
        self.descriptor = keepsDescriptor ? descriptor : -1
        self.byteCount = byteCount
        address = UInt(bitPattern: mapped)
    }

    deinit {
        munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount)
        if descriptor >= 0 { close(descriptor) }
    }

    /// The bytes; they must not be used after `body`.
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(
            UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: byteCount)
        )
    }
}
