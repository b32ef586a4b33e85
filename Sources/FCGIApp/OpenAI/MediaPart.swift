internal import JSON

/// An image or a clip among the parts of a message.
public struct MediaPart: Sendable, Equatable {
    /// What the part is.
    public var kind: Kind
    /// Where its bytes are.
    public var source: Source
    /// The field that says so, for errors.
    public var param: String
    /// What this part asks for.
    public var wishes: MediaWishes

    /// What a part is.
    public enum Kind: String, Sendable {
        /// One picture.
        case image
        /// Frames in time.
        case video
    }

    /// Where a part's bytes are.
    public enum Source: Sendable, Equatable {
        /// `data:`, `http:`, `https:` or `file:`; not looked at here.
        case url(String)
        /// The bytes in base64.
        case base64(String)
    }
}

/// How a request wants its media sampled and sized; nil leaves it to the model.
public struct MediaWishes: Sendable, Equatable {
    /// Frames a second.
    public var fps: Double?
    /// Frames in all (`num_frames`).
    public var frames: Int?
    /// Fewest frames.
    public var minFrames: Int?
    /// Most frames.
    public var maxFrames: Int?
    /// Fewest pixels of an image or a frame, as the model's processor counts them.
    public var minPixels: Int?
    /// Most pixels.
    public var maxPixels: Int?
    /// False: every frame, as far as the server takes them (`do_sample_frames`).
    public var samples: Bool?

    /// Nothing asked for.
    public init() {}

    /// These wishes, and those of `other` where they say nothing.
    public func over(_ other: MediaWishes) -> MediaWishes {
        var all = self
        let decides = fps != nil || frames != nil || samples == false
        if !decides {
            all.fps = other.fps
            all.frames = other.frames
            all.samples = other.samples
        }
        all.minFrames = minFrames ?? other.minFrames
        all.maxFrames = maxFrames ?? other.maxFrames
        all.minPixels = minPixels ?? other.minPixels
        all.maxPixels = maxPixels ?? other.maxPixels
        return all
    }

    init(_ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        let pixels = 1...Fields.maxCount
        fps = try fields.number("fps", 0...1000, aboveLower: true)
        frames = try fields.int("num_frames", 1...limits.mediaFrames)
        if fps != nil, frames != nil {
            throw fields.invalid("num_frames", "give 'fps' or 'num_frames', not both.")
        }
        minFrames = try fields.int("min_frames", 1...limits.mediaFrames)
        maxFrames = try fields.int("max_frames", 1...limits.mediaFrames)
        minPixels = try fields.int("min_pixels", pixels)
        maxPixels = try fields.int("max_pixels", pixels)
        if case .object(let size)? = fields.value("size") {
            let inner = Fields(size, at: fields.param("size"))
            minPixels = try inner.int("shortest_edge", pixels) ?? minPixels
            maxPixels = try inner.int("longest_edge", pixels) ?? maxPixels
        }
        samples = try fields.bool("do_sample_frames")
        if let least = minPixels, let most = maxPixels, least > most {
            throw fields.invalid("min_pixels", "larger than max_pixels (\(most)).")
        }
        if let least = minFrames, let most = maxFrames, least > most {
            throw fields.invalid("min_frames", "larger than max_frames (\(most)).")
        }
    }
}

extension MediaPart {
    /// The kinds of parts that carry media, and the fields that may name their bytes.
    private static let spellings: [String: (kind: Kind, fields: [String])] = [
        "image_url": (.image, ["image_url"]),
        "input_image": (.image, ["image_url", "b64_json"]),
        "image": (.image, ["image", "image_url", "url", "b64_json", "base64"]),
        "video_url": (.video, ["video_url"]),
        "input_video": (.video, ["video_url", "b64_json"]),
        "video": (.video, ["video", "video_url", "url", "b64_json", "base64"]),
    ]

    /// Reads a part; nil where its type is none of media.
    init?(type: String, _ fields: Fields, _ limits: RequestLimits) throws(APIError) {
        guard let (kind, names) = Self.spellings[type] else { return nil }
        self.kind = kind
        let own = try MediaWishes(fields, limits)
        let given = names.filter { fields.value($0) != nil }
        guard let name = given.first else { throw .missing(fields.param(names[0])) }
        guard given.count == 1 else {
            throw fields.invalid(given[1], "give '\(name)' or '\(given[1])', not both.")
        }
        param = fields.param(name)
        wishes = own
        let text: String
        switch fields.value(name) {
        case .string(let url)?: text = url
        case .object(let object)?:
            let inner = Fields(object, at: param)
            guard let url = try inner.string("url") else { throw .missing(inner.param("url")) }
            text = url
            wishes = try MediaWishes(inner, limits).over(own)
            param = inner.param("url")
        case .array?:
            throw .unsupportedValue(param, "a list of frames is not taken; send a clip.")
        case let other?: throw fields.wrongType(name, "a string or an object", other)
        case nil: throw .missing(param)
        }
        guard !text.isEmpty else { throw .invalidValue(param, "must not be empty.") }
        let isPlain = (name == "b64_json" || name == "base64") && !text.hasPrefix("data:")
        source = isPlain ? .base64(text) : .url(text)
    }

    /// The part as chat templates expect it; the bytes are not theirs.
    var templateValue: JSONValue { ["type": .string(kind.rawValue)] }
}
