// The work: geometry from Vision, pixels from CMedia, frame by frame into the output.

import CMedia
import MediaLink
import Vision

/// Does the job; whatever goes wrong is a sentence.
func perform(_ order: Order) -> MediaReply {
    do {
        let work = try Work(order)
        switch work.job.wish {
        case .image(let rule): return .success(try work.image(rule))
        case .video(let rule): return .success(try work.video(rule))
        }
    } catch let failure as MediaFailure {
        return .failure(failure)
    } catch let error as GeometryError {
        return .failure(MediaFailure(.invalid, error.description))
    } catch {
        return .failure(MediaFailure(.internal, "the media could not be read"))
    }
}

/// One job, its bytes and its output.
struct Work {
    let job: MediaJob
    let bytes: UnsafePointer<UInt8>
    let limits: tg_media_limits
    private let output: Int32
    private let outputBytes: Int

    init(_ order: Order) throws {
        job = try order.job.get()
        output = order.output
        outputBytes = min(job.outputBytes, Int(tg_media_file_size(order.output)))
        guard job.inputBytes > 0 else { throw MediaFailure(.invalid, "the file is empty") }
        guard tg_media_file_size(order.input) >= job.inputBytes,
            let view = tg_media_map(order.input, job.inputBytes)
        else { throw MediaFailure(.internal, "the input is not there") }
        bytes = view
        limits = tg_media_limits(
            pixels: Int64(job.limits.pixels),
            side: Int64(job.limits.side),
            frames: Int64(job.limits.frames),
            duration_ms: Int64(job.limits.seconds) * 1000,
            scans: Int32(clamping: job.limits.scans)
        )
        _ = tg_media_limit_cpu(UInt64(max(1, job.limits.cpuSeconds)))
    }

    /// A resizer for frames that fit the output.
    func resizer(to size: PixelSize, frames: Int, _ resampling: Resampling) throws -> Resizer {
        let (area, wide) = size.width.multipliedReportingOverflow(by: size.height)
        let (pixels, long) = area.multipliedReportingOverflow(by: frames)
        let (needed, large) = pixels.multipliedReportingOverflow(by: 3)
        guard !wide, !long, !large, needed <= outputBytes else {
            let frames = frames == 1 ? "" : "\(frames) frames of "
            throw MediaFailure(
                .tooLarge,
                "\(frames)\(size.width)x\(size.height) pixels need more than \(outputBytes) bytes"
            )
        }
        return Resizer(to: size, resampling, output: output)
    }
}

/// Throws what a C function reports.
func check(_ body: (inout tg_media_error) -> Int32) throws {
    var error = tg_media_error()
    let code = body(&error)
    guard code != 0 else { return }
    throw MediaFailure(code: code, error: error)
}

extension MediaFailure {
    init(code: Int32, error: tg_media_error) {
        let text = withUnsafeBytes(of: error.text) { buffer in
            String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        }
        switch UInt32(bitPattern: code) {
        case TG_MEDIA_UNSUPPORTED.rawValue: self.init(.unsupported, text)
        case TG_MEDIA_TOO_LARGE.rawValue, TG_MEDIA_MEMORY.rawValue: self.init(.tooLarge, text)
        default: self.init(.invalid, text)
        }
    }
}
