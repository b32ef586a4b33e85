// Decoded pictures become frames of the output, each at its place.

import CLinux
import CMedia
import Glibc
import MediaLink
import Vision

final class Resizer {
    let size: PixelSize
    private let output: Int32
    // Not an array: one that does not fit the address space ends the process without a word.
    private let frame: UnsafeMutablePointer<UInt8>
    private let count: Int
    /// Time spent here.
    private(set) var nanoseconds: UInt64 = 0

    init(to size: PixelSize, output: Int32) throws {
        self.size = size
        self.output = output
        count = 3 * size.width * size.height
        guard let memory = malloc(count) else {
            throw MediaFailure(
                .tooLarge,
                "not enough memory for \(size.width)x\(size.height) pixels"
            )
        }
        frame = memory.assumingMemoryBound(to: UInt8.self)
    }

    deinit { free(frame) }

    /// Resizes the picture and writes it as frame number `place`.
    func put(_ picture: tg_picture, place: Int) throws {
        let start = tg_monotonic_ns()
        defer { nanoseconds += tg_monotonic_ns() - start }
        var picture = picture
        let (width, height) = (Int32(size.width), Int32(size.height))
        try check { tg_resize(&picture, frame, width, height, &$0) }
        guard tg_media_write(output, frame, count, Int64(place) * Int64(count)) == 0 else {
            throw MediaFailure(.internal, "the output cannot be written")
        }
    }
}
