// Which frames of a clip a model sees, and how large: the video processors of transformers 5.17, whose two
// families differ in rounding, in the indices and in whether the pixel budget is a frame's or the clip's.

/// The two published ways of sampling and sizing a clip.
public enum VideoFamily: String, Sendable, Equatable {
    /// Qwen2-VL and Qwen2.5-VL: pairs of frames at a constant step; the budget is each frame's.
    case qwen2VL = "qwen2_vl"
    /// Qwen3-VL: frames from the first to the last; the budget is the whole clip's.
    case qwen3VL = "qwen3_vl"
}

/// What a model's video processor says about frames and sizes, with a request's own wishes put in.
public struct VideoRule: Sendable, Equatable {
    /// Whose formulas hold.
    public var family: VideoFamily
    /// Patches and merging.
    public var layout: PatchLayout
    /// Pixels after resizing, of a frame (Qwen2-VL) or of the clip (Qwen3-VL).
    public var budget: PixelBudget
    /// Frames a second to keep; nil keeps every frame unless `frameCount` is given.
    public var fps: Double?
    /// Frames to keep, in place of `fps`.
    public var frameCount: Int?
    /// Keeps every frame of a clip with at most so many, else so many; goes before `fps` and `frameCount`.
    public var allFramesUpTo: Int?
    /// Fewest frames where `fps` decides.
    public var minFrames: Int
    /// Most frames where `fps` decides.
    public var maxFrames: Int
    /// Bounds each frame by a share of a clip's budget, as qwen-vl-utils does.
    public var capPixelsPerFrame: Bool
    /// Tokens from which `capPixelsPerFrame` derives its bound.
    public var maxVideoTokens: Int
    /// How pixels are resized.
    public var resampling: Resampling

    /// A rule with transformers' defaults for what is not given.
    public init(
        family: VideoFamily,
        layout: PatchLayout,
        budget: PixelBudget,
        fps: Double? = 2,
        frameCount: Int? = nil,
        allFramesUpTo: Int? = nil,
        minFrames: Int = 4,
        maxFrames: Int = 768,
        capPixelsPerFrame: Bool = false,
        maxVideoTokens: Int? = nil,
        resampling: Resampling = .bicubic
    ) {
        self.family = family
        self.layout = layout
        self.budget = budget
        self.fps = fps
        self.frameCount = frameCount
        self.allFramesUpTo = allFramesUpTo
        self.minFrames = minFrames
        self.maxFrames = maxFrames
        self.capPixelsPerFrame = capPixelsPerFrame
        self.maxVideoTokens = maxVideoTokens ?? (family == .qwen2VL ? 128_000 : 768)
        self.resampling = resampling
    }

    /// Size to which each of `frames` frames of `size` is resized.
    public func target(of size: PixelSize, frames: Int) throws(GeometryError) -> PixelSize {
        guard layout.isValid else {
            throw .settings("patch \(layout.patch), merge \(layout.merge)")
        }
        guard (1...1_000_000).contains(frames) else { throw .tooFewFrames(frames, needed: 2) }
        var budget = self.budget
        if capPixelsPerFrame { budget.max = try cappedPixels(frames: frames) }
        switch family {
        case .qwen2VL:
            return try SmartResize.image(size, factor: layout.factor, budget: budget)
        case .qwen3VL:
            return try SmartResize.clip(size, frames: frames, layout: layout, budget: budget)
        }
    }

    /// Patches of `frames` frames of `size` after resizing.
    public func grid(of size: PixelSize, frames: Int) throws(GeometryError) -> PatchGrid {
        PatchGrid(frames: frames, size: try target(of: size, frames: frames), layout: layout)
    }

    private func cappedPixels(frames: Int) throws(GeometryError) -> Int {
        guard (1...1 << 40).contains(maxVideoTokens), (0...1 << 40).contains(budget.min),
            (1...1 << 40).contains(budget.max)
        else { throw .settings("\(maxVideoTokens) tokens, \(budget.min) to \(budget.max) pixels") }
        let area = layout.factor * layout.factor
        let (ceiling, overflow) = maxVideoTokens.multipliedReportingOverflow(by: area)
        guard !overflow, ceiling < 1 << 52 else { throw .settings("\(maxVideoTokens) tokens") }
        let floor = Int(Double(budget.min) * 1.05)
        switch family {
        case .qwen2VL:
            let share = Int(Double(ceiling) * 0.9) * layout.temporalPatch / frames
            return max(min(budget.max, share), floor)
        case .qwen3VL:
            return max(min(ceiling, budget.max / frames), floor) * frames
        }
    }
}
