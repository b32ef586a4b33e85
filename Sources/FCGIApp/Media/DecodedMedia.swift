internal import CLinux
internal import Glibc
public import MediaLink

/// A medium as a model wants it: geometry, and pixels that nobody can change any more.
public struct DecodedMedia: Sendable {
    /// Sizes, frames and times.
    public let result: MediaResult
    /// The pixels.
    public let pixels: PixelFile
}

/// Pixels in a memory file: `frames` × `height` × `width` × 3 bytes, RGB, sealed.
public final class PixelFile: Sendable {
    /// The memory file; closed with this value.
    let descriptor: Int32

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// A descriptor of the same file, which the caller closes; nil where there are no more descriptors.
    public func duplicate() -> Int32? {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        return copy >= 0 ? copy : nil
    }

    /// Cuts the file to its pixels and seals it.
    func seal(bytes: Int) -> Bool {
        ftruncate(descriptor, bytes) == 0 && tg_memfd_seal(descriptor) == 0
    }
}
