// What the front tells `torchgate-media`: one JSON object behind a u32 length (little-endian), with the
// descriptors of the input and of the output on its first byte.

public import JSON
public import Vision

/// Limits that are checked on headers before anything large is allocated.
public struct MediaLimits: Sendable, Equatable {
    /// Pixels of an image or a frame.
    public var pixels = 40_000_000
    /// Pixels of the longer side.
    public var side = 8192
    /// Frames of a clip, chosen or not.
    public var frames = 500_000
    /// Frames that may be chosen.
    public var chosenFrames = 768
    /// Length of a clip in seconds.
    public var seconds = 600
    /// Scans of a progressive JPEG.
    public var scans = 500
    /// Processor time of the job in seconds.
    public var cpuSeconds = 5

    /// The defaults that stand beside each limit.
    public init() {}
}

/// One decode: an image, or the chosen frames of a clip, resized as a model wants them.
public struct MediaJob: Sendable, Equatable {
    /// What is wanted of the bytes.
    public enum Wish: Sendable, Equatable {
        /// One image; of an animation the first frame. Without a rule it keeps its size.
        case image(ImageRule?)
        /// Frames of a clip.
        case video(VideoRule)
    }

    /// An image or a clip.
    public var wish: Wish
    /// Encoded bytes at the start of the input descriptor.
    public var inputBytes: Int
    /// Room in the output descriptor's file.
    public var outputBytes: Int
    /// Turns an image as its EXIF orientation says; transformers does not.
    public var orient = false
    /// Bounds of the work.
    public var limits = MediaLimits()

    /// A job for `inputBytes` bytes whose pixels may take `outputBytes`.
    public init(_ wish: Wish, inputBytes: Int, outputBytes: Int) {
        self.wish = wish
        self.inputBytes = inputBytes
        self.outputBytes = outputBytes
    }
}

/// What does not fit the protocol.
public struct MediaLinkError: Error, Sendable, Equatable {
    /// The member that is missing or wrong.
    public let member: String
}

extension MediaJob {
    /// Greatest length of a job or a reply in bytes.
    public static let maxMessageBytes = 1 << 18

    /// The job as a message, length included.
    public var message: [UInt8] { framed(json) }

    /// The job's object.
    public var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("input_bytes", .int(inputBytes)), ("output_bytes", .int(outputBytes)),
            ("orient", .bool(orient)), ("limits", limits.json),
        ]
        switch wish {
        case .image(let rule):
            members.append(("image", rule?.json ?? .object(JSONObject())))
        case .video(let rule):
            members.append(("video", rule.json))
        }
        return .object(JSONObject(members))
    }

    /// Reads a job's object.
    public init(json: JSONValue) throws(MediaLinkError) {
        let wish: Wish
        if let video = json["video"] {
            wish = .video(try VideoRule(json: video))
        } else if let image = json["image"]?.object {
            wish = .image(image.isEmpty ? nil : try ImageRule(json: .object(image)))
        } else {
            throw MediaLinkError(member: "image")
        }
        self.init(
            wish,
            inputBytes: try json.count("input_bytes"),
            outputBytes: try json.count("output_bytes")
        )
        orient = json["orient"]?.bool ?? false
        limits = try MediaLimits(json: json["limits"] ?? .null)
    }
}

extension MediaLimits {
    var json: JSONValue {
        [
            "pixels": .int(pixels), "side": .int(side), "frames": .int(frames),
            "chosen_frames": .int(chosenFrames), "seconds": .int(seconds), "scans": .int(scans),
            "cpu_seconds": .int(cpuSeconds),
        ]
    }

    init(json: JSONValue) throws(MediaLinkError) {
        pixels = try json.count("pixels")
        side = try json.count("side")
        frames = try json.count("frames")
        chosenFrames = try json.count("chosen_frames")
        seconds = try json.count("seconds")
        scans = try json.count("scans")
        cpuSeconds = try json.count("cpu_seconds")
    }
}

extension JSONValue {
    /// A member that counts something: at least 0 and below 2^40.
    func count(_ member: String) throws(MediaLinkError) -> Int {
        guard let value = self[member]?.int, (0..<1 << 40).contains(value) else {
            throw MediaLinkError(member: member)
        }
        return value
    }
}

/// Bytes of an object behind their length, little-endian.
func framed(_ json: JSONValue) -> [UInt8] {
    let body = json.bytes()
    let length = UInt32(truncatingIfNeeded: body.count)
    return withUnsafeBytes(of: length.littleEndian, Array.init) + body
}
