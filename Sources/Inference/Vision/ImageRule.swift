/// What a model's image processor says about sizes.
public struct ImageRule: Sendable, Equatable {
    /// Patches and merging.
    public var layout: PatchLayout
    /// Pixels after resizing.
    public var budget: PixelBudget
    /// How pixels are resized.
    public var resampling: Resampling

    /// A rule; published budgets are 3136…12845056 (Qwen2.5-VL) and 65536…16777216 (Qwen3-VL).
    public init(layout: PatchLayout, budget: PixelBudget, resampling: Resampling = .bicubic) {
        self.layout = layout
        self.budget = budget
        self.resampling = resampling
    }

    /// Size to which an image of `size` is resized.
    public func target(of size: PixelSize) throws(GeometryError) -> PixelSize {
        guard layout.isValid else {
            throw .settings("patch \(layout.patch), merge \(layout.merge)")
        }
        return try SmartResize.image(size, factor: layout.factor, budget: budget)
    }

    /// Patches of an image of `size` after resizing.
    public func grid(of size: PixelSize) throws(GeometryError) -> PatchGrid {
        PatchGrid(time: 1, of: try target(of: size), layout: layout)
    }
}

extension PatchGrid {
    init(time: Int, of size: PixelSize, layout: PatchLayout) {
        self.init(
            time: time,
            height: size.height / layout.patch,
            width: size.width / layout.patch
        )
    }
}
