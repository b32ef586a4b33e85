// Decoded pictures become frames of the output, each at its place.

import CLinux
import CMedia
import Glibc
import MediaLink
import Vision

final class Resizer {
    let size: PixelSize
    private let resampling: tg_resampling
    private let output: Int32
    // Not an array: one that does not fit the address space ends the process without a word.
    private var frame: UnsafeMutablePointer<UInt8>?
    private let count: Int
    /// Time spent here.
    private(set) var nanoseconds: UInt64 = 0

    init(to size: PixelSize, _ resampling: Resampling, output: Int32) {
        self.size = size
        self.resampling = tg_resampling(rawValue: UInt32(resampling.rawValue))
        self.output = output
        count = 3 * size.width * size.height
    }

    deinit { free(frame) }

    /// Resizes the picture and writes it as frame number `place`.
    func put(_ picture: tg_picture, place: Int) throws {
        let start = tg_monotonic_ns()
        defer { nanoseconds += tg_monotonic_ns() - start }
        let rgb = try resized(picture)
        guard tg_media_write(output, rgb, count, Int64(place) * Int64(count)) == 0 else {
            throw MediaFailure(.internal, "the output cannot be written")
        }
    }

    private func resized(_ picture: tg_picture) throws -> UnsafePointer<UInt8>? {
        let (width, height) = (Int32(size.width), Int32(size.height))
        if picture.width == width, picture.height == height {
            return UnsafePointer(picture.rgb)
        }
        if frame == nil { frame = malloc(count)?.assumingMemoryBound(to: UInt8.self) }
        guard let frame else {
            throw MediaFailure(
                .tooLarge,
                "not enough memory for \(size.width)x\(size.height) pixels"
            )
        }
        var picture = picture
        try check { tg_resize(&picture, frame, width, height, resampling, &$0) }
        return UnsafePointer(frame)
    }
}
