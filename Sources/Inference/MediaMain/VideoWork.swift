import CLinux
import CMedia
import MediaLink
import Vision

extension Work {
    /// The chosen frames of a clip.
    func video(_ rule: VideoRule) throws -> MediaResult {
        let start = tg_monotonic_ns()
        var limits = self.limits
        var clip: OpaquePointer?
        var info = tg_video_info()
        try check { tg_video_open(bytes, job.inputBytes, &limits, &clip, &info, &$0) }
        defer { tg_video_close(clip) }
        let known = info.fps_num > 0 && info.fps_den > 0
        let rate = known ? MediaResult.Rate(Int(info.fps_num), Int(info.fps_den)) : nil
        var timeline = VideoTimeline(frames: Int(info.frames), fps: rate?.fps)
        var taken = try frames(of: clip, timeline, info, rule)
        if case .ended(let count) = taken {
            // Packets were counted that make no frame: the choice is made again from what there is.
            timeline.frames = count
            taken = try frames(of: clip, timeline, info, rule)
        }
        guard case .all(let choice, let resizer) = taken else {
            throw MediaFailure(.invalid, "the video ends early; it is damaged or truncated")
        }
        let codec = withUnsafeBytes(of: info.codec) { buffer in
            String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        }
        var result = MediaResult(
            format: codec,
            source: PixelSize(width: Int(info.width), height: Int(info.height)),
            size: resizer.size,
            frames: choice.indices.count,
            choice: choice,
            rate: rate
        )
        let all = Int((tg_monotonic_ns() - start) / 1000)
        result.resizeMicroseconds = Int(resizer.nanoseconds / 1000)
        result.decodeMicroseconds = all - result.resizeMicroseconds
        return result
    }

    private enum Taken {
        /// Every chosen frame is in the output.
        case all(FrameChoice, Resizer)
        /// The clip has only so many frames.
        case ended(Int)
    }

    private func frames(
        of clip: OpaquePointer?,
        _ timeline: VideoTimeline,
        _ info: tg_video_info,
        _ rule: VideoRule
    ) throws -> Taken {
        let choice = try rule.choose(from: timeline)
        let count = choice.indices.count
        guard count <= job.limits.chosenFrames else {
            throw MediaFailure(
                .tooLarge,
                "\(count) frames would be taken; at most \(job.limits.chosenFrames) are accepted"
            )
        }
        let source = PixelSize(width: Int(info.width), height: Int(info.height))
        let target = try rule.target(of: source, frames: count)
        let resizer = try resizer(to: target, frames: count, rule.resampling)
        let sink = Sink(resizer)
        let indices = choice.indices.map { Int64($0) }
        var decoded: Int64 = 0
        var error = tg_media_error()
        let code = withExtendedLifetime(sink) {
            tg_video_decode(
                clip,
                indices,
                count,
                { context, place, picture in
                    guard let context, let picture else { return -2 }
                    let sink = Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
                    return sink.take(picture.pointee, place: Int(place))
                },
                Unmanaged.passUnretained(sink).toOpaque(),
                &decoded,
                &error
            )
        }
        if let failure = sink.failure { throw failure }
        if code == Int32(TG_MEDIA_SHORT.rawValue) { return .ended(Int(decoded)) }
        guard code == 0 else { throw MediaFailure(code: code, error: error) }
        return .all(choice, resizer)
    }
}

/// Takes frames through the C callback and remembers what went wrong.
private final class Sink {
    private let resizer: Resizer
    private(set) var failure: (any Error)?

    init(_ resizer: Resizer) { self.resizer = resizer }

    func take(_ picture: tg_picture, place: Int) -> Int32 {
        do {
            try resizer.put(picture, place: place)
            return 0
        } catch {
            failure = error
            return -2
        }
    }
}
