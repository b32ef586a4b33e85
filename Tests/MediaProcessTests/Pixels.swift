// CMedia called in this process.

import CMedia
import Vision

struct CMediaFailure: Error { let text: String }

struct RGB {
    var bytes: [UInt8]
    var size: PixelSize
}

let ordinary = tg_media_limits(
    pixels: 40_000_000,
    side: 8192,
    frames: 1000,
    duration_ms: 60_000,
    scans: 500
)

func pixels(of file: [UInt8], limits: tg_media_limits = ordinary) throws -> RGB {
    var (picture, error, limits) = (tg_picture(), tg_media_error(), limits)
    defer { tg_picture_free(&picture) }
    guard tg_image_decode(file, file.count, &limits, 0, &picture, &error) == 0 else {
        throw CMediaFailure(
            text: withUnsafeBytes(of: error.text) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
        )
    }
    let size = PixelSize(width: Int(picture.width), height: Int(picture.height))
    let bytes = UnsafeBufferPointer(start: picture.rgb, count: 3 * size.width * size.height)
    return RGB(bytes: Array(bytes), size: size)
}

func resized(_ picture: RGB, to size: PixelSize, _ resampling: Resampling) throws -> [UInt8] {
    let resampling = tg_resampling(rawValue: UInt32(resampling.rawValue))
    var source = picture.bytes
    var target = [UInt8](repeating: 0, count: 3 * size.width * size.height)
    var error = tg_media_error()
    let code = source.withUnsafeMutableBufferPointer { buffer in
        var from = tg_picture(
            rgb: buffer.baseAddress,
            width: Int32(picture.size.width),
            height: Int32(picture.size.height)
        )
        return tg_resize(&from, &target, Int32(size.width), Int32(size.height), resampling, &error)
    }
    guard code == 0 else { throw CMediaFailure(text: "resize") }
    return target
}
