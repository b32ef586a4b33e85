/// One image or clip of a prompt, decoded and resized.
public struct PromptMedia: Sendable, Equatable {
    /// What it is to the model.
    public enum Kind: String, Sendable {
        /// One frame.
        case image
        /// Frames in time.
        case video
    }

    /// What it is to the model.
    public var kind: Kind
    /// Pictures; 1 for an image.
    public var frames: Int
    /// Columns of pixels.
    public var width: Int
    /// Rows of pixels.
    public var height: Int
    /// Where its placeholders stand in the prompt, in order, without overlap.
    ///
    /// One range, but for Qwen3-VL's clips: one for each temporal patch.
    public var spans: [Range<Int>]
    /// Seconds from one temporal patch to the next, where the model's positions depend on it.
    public var secondsPerGrid: Double?
    /// 32 bytes that are equal for equal pixels of one owner: the engine keeps features under them.
    public var identity: [UInt8]
    /// `frames` × `height` × `width` × 3 bytes: RGB without gaps.
    public var pixels: SharedPixels

    /// Describes a medium.
    public init(
        kind: Kind,
        frames: Int,
        width: Int,
        height: Int,
        spans: [Range<Int>],
        secondsPerGrid: Double? = nil,
        identity: [UInt8],
        pixels: SharedPixels
    ) {
        self.kind = kind
        self.frames = frames
        self.width = width
        self.height = height
        self.spans = spans
        self.secondsPerGrid = secondsPerGrid
        self.identity = identity
        self.pixels = pixels
    }

    /// Equal where all but the memory is, which `identity` stands for.
    public static func == (one: PromptMedia, other: PromptMedia) -> Bool {
        one.kind == other.kind && one.frames == other.frames && one.width == other.width
            && one.height == other.height && one.spans == other.spans
            && one.secondsPerGrid == other.secondsPerGrid && one.identity == other.identity
    }
}
