import CLinux
import CMedia
import MediaLink
import Vision

extension Work {
    /// One image; a shape that the model cannot take is refused before its pixels are decoded.
    func image(_ rule: ImageRule?) throws -> MediaResult {
        let start = tg_monotonic_ns()
        var limits = self.limits
        var (width, height): (Int32, Int32) = (0, 0)
        try check { tg_image_size(bytes, job.inputBytes, &limits, &width, &height, &$0) }
        if let rule {
            let target = try rule.target(of: PixelSize(width: Int(width), height: Int(height)))
            _ = try resizer(to: target, frames: 1, rule.resampling)
        }
        var picture = tg_picture()
        defer { tg_picture_free(&picture) }
        let orient: Int32 = job.orient ? 1 : 0
        try check { tg_image_decode(bytes, job.inputBytes, &limits, orient, &picture, &$0) }
        let decoded = tg_monotonic_ns()
        let source = PixelSize(width: Int(picture.width), height: Int(picture.height))
        let target = try rule?.target(of: source) ?? source
        let resizer = try resizer(to: target, frames: 1, rule?.resampling ?? .bicubic)
        try resizer.put(picture, place: 0)
        let format = tg_media_format_name(tg_media_sniff(bytes, job.inputBytes))
        var result = MediaResult(
            format: format.map { String(cString: $0) } ?? "unknown",
            source: source,
            size: resizer.size,
            frames: 1
        )
        result.decodeMicroseconds = Int((decoded - start) / 1000)
        result.resizeMicroseconds = Int((tg_monotonic_ns() - decoded) / 1000)
        return result
    }
}
