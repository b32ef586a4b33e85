// What `torchgate-media` answers: geometry, or one line that says why there is none.

public import JSON
public import Vision

/// What a client has to hear about media that could not be used.
public struct MediaFailure: Error, Sendable, Equatable {
    /// Why, for the API's error code.
    public enum Code: String, Sendable, Equatable {
        /// Damaged, truncated or not media.
        case invalid = "invalid_media"
        /// Recognised, but not decoded here.
        case unsupported = "unsupported_media"
        /// Beyond a limit.
        case tooLarge = "media_too_large"
        /// The process was given something that no front sends.
        case `internal` = "internal"
    }

    /// Kind of failure.
    public var code: Code
    /// One sentence for the client.
    public var message: String

    /// A failure with its sentence.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// Pixels that lie in the output: `frames` pictures of `size`, RGB, 8 bits, rows and frames without gaps.
public struct MediaResult: Sendable, Equatable {
    /// Format or codec: jpeg, png, webp, gif, bmp, h264, hevc, vp8, vp9, av1, ffv1.
    public var format: String
    /// Size as encoded, after turning where that was asked for.
    public var source: PixelSize
    /// Size of each frame in the output.
    public var size: PixelSize
    /// Frames in the output: 1 for an image.
    public var frames: Int
    /// The clip's chosen frames; nil for an image.
    public var choice: FrameChoice?
    /// Rate as the container writes it, 30000/1001 for instance; nil for an image or where it is unknown.
    public var rate: Rate?
    /// Microseconds of opening and decoding, and of resizing and writing.
    public var decodeMicroseconds = 0
    /// Microseconds of resizing and writing.
    public var resizeMicroseconds = 0

    /// A frame rate as a fraction.
    public struct Rate: Sendable, Equatable {
        /// Frames.
        public var numerator: Int
        /// Seconds.
        public var denominator: Int

        /// `numerator` frames in `denominator` seconds.
        public init(_ numerator: Int, _ denominator: Int) {
            self.numerator = numerator
            self.denominator = denominator
        }

        /// Frames a second.
        public var fps: Double { Double(numerator) / Double(denominator) }
    }

    /// A result without times.
    public init(
        format: String,
        source: PixelSize,
        size: PixelSize,
        frames: Int,
        choice: FrameChoice? = nil,
        rate: Rate? = nil
    ) {
        self.format = format
        self.source = source
        self.size = size
        self.frames = frames
        self.choice = choice
        self.rate = rate
    }

    /// Bytes in the output.
    public var bytes: Int { 3 * size.width * size.height * frames }
}

/// A reply: pixels or a failure.
public typealias MediaReply = Result<MediaResult, MediaFailure>

extension Result where Success == MediaResult, Failure == MediaFailure {
    /// The reply as a message, length included.
    public var message: [UInt8] { framed(json) }

    /// The reply's object.
    public var json: JSONValue {
        switch self {
        case .failure(let failure):
            [
                "error": [
                    "code": .string(failure.code.rawValue), "message": .string(failure.message),
                ]
            ]
        case .success(let result):
            result.json
        }
    }

    /// Reads a reply's object.
    public init(json: JSONValue) throws(MediaLinkError) {
        if let error = json["error"] {
            let code = error["code"]?.string.flatMap(MediaFailure.Code.init(rawValue:))
            guard let code, let message = error["message"]?.string else {
                throw MediaLinkError(member: "error")
            }
            self = .failure(MediaFailure(code, message))
        } else {
            self = .success(try MediaResult(json: json))
        }
    }
}

extension MediaResult {
    var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("format", .string(format)),
            ("source_width", .int(source.width)), ("source_height", .int(source.height)),
            ("width", .int(size.width)), ("height", .int(size.height)), ("frames", .int(frames)),
            ("decode_us", .int(decodeMicroseconds)), ("resize_us", .int(resizeMicroseconds)),
        ]
        if let choice {
            members.append(("total_frames", .int(choice.timeline.frames)))
            members.append(("indices", .array(choice.indices.map { .int($0) })))
        }
        if let rate {
            members.append(("rate", [.int(rate.numerator), .int(rate.denominator)]))
        }
        return .object(JSONObject(members))
    }

    init(json: JSONValue) throws(MediaLinkError) {
        guard let format = json["format"]?.string else { throw MediaLinkError(member: "format") }
        let source = PixelSize(
            width: try json.count("source_width"),
            height: try json.count("source_height")
        )
        let size = PixelSize(width: try json.count("width"), height: try json.count("height"))
        let frames = try json.count("frames")
        // A reply comes from a process that may have been taken over: its product must not overflow.
        guard (1...1 << 24).contains(size.width), (1...1 << 24).contains(size.height),
            (1...1 << 12).contains(frames)
        else { throw MediaLinkError(member: "width") }
        self.init(format: format, source: source, size: size, frames: frames)
        if let pair = json["rate"]?.array {
            guard pair.count == 2, let over = pair[0].int, let under = pair[1].int, over > 0,
                under > 0
            else { throw MediaLinkError(member: "rate") }
            rate = Rate(over, under)
        }
        if let list = json["indices"]?.array {
            let total = try json.count("total_frames")
            let indices = list.compactMap(\.int).filter { (0..<max(total, 1)).contains($0) }
            guard indices.count == list.count, indices.count == frames else {
                throw MediaLinkError(member: "indices")
            }
            choice = FrameChoice(
                indices: indices,
                timeline: VideoTimeline(frames: total, fps: rate?.fps)
            )
        }
        decodeMicroseconds = try json.count("decode_us")
        resizeMicroseconds = try json.count("resize_us")
    }
}
