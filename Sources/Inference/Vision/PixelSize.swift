/// Width and height of an image or frame in pixels.
public struct PixelSize: Sendable, Equatable, Hashable {
    /// Columns.
    public var width: Int
    /// Rows.
    public var height: Int

    /// A size of `width` columns and `height` rows.
    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}

/// Least and greatest number of pixels after resizing.
///
/// Processor files spell it `min_pixels`/`max_pixels`, or `size.shortest_edge`/`size.longest_edge`, which
/// are counts of pixels too and no edges.
public struct PixelBudget: Sendable, Equatable {
    /// Fewest pixels; smaller pictures are enlarged.
    public var min: Int
    /// Most pixels; larger pictures are reduced.
    public var max: Int

    /// A budget of `min` to `max` pixels.
    public init(min: Int, max: Int) {
        self.min = min
        self.max = max
    }
}

/// How a vision tower cuts pixels into patches and merges patches into tokens.
public struct PatchLayout: Sendable, Equatable {
    /// Edge of a patch in pixels: 14 for Qwen2.5-VL, 16 for Qwen3-VL.
    public var patch: Int
    /// Patches along one edge of a token.
    public var merge: Int
    /// Frames in one temporal patch.
    public var temporalPatch: Int

    /// A layout; `merge` and `temporalPatch` are 2 in every published model.
    public init(patch: Int, merge: Int = 2, temporalPatch: Int = 2) {
        self.patch = patch
        self.merge = merge
        self.temporalPatch = temporalPatch
    }

    /// Pixels along one edge of a token; every target size is a multiple of it.
    public var factor: Int { patch * merge }

    /// True where the numbers of a processor file can be computed with.
    public var isValid: Bool {
        (1...1024).contains(patch) && (1...64).contains(merge) && (1...64).contains(temporalPatch)
    }
}

/// Patches of one image or clip along time, height and width: a row of `image_grid_thw`.
public struct PatchGrid: Sendable, Equatable, Hashable {
    /// Temporal patches; 1 for an image.
    public var time: Int
    /// Rows of patches.
    public var height: Int
    /// Columns of patches.
    public var width: Int

    /// A grid of time × height × width patches.
    public init(time: Int, height: Int, width: Int) {
        self.time = time
        self.height = height
        self.width = width
    }

    /// The grid of `frames` frames of `size`; an odd last frame counts as a pair.
    public init(frames: Int, size: PixelSize, layout: PatchLayout) {
        time = (frames + layout.temporalPatch - 1) / layout.temporalPatch
        height = size.height / layout.patch
        width = size.width / layout.patch
    }

    /// Rows that the vision tower reads.
    public var patches: Int { time * height * width }

    /// Placeholder tokens in the prompt.
    public func tokens(merge: Int) -> Int { patches / (merge * merge) }

    /// Placeholder tokens of one temporal patch.
    public func tokensPerStep(merge: Int) -> Int { height * width / (merge * merge) }
}
