// Target sizes as transformers computes them (`smart_resize` of Qwen2-VL images, Qwen2-VL videos and
// Qwen3-VL videos). Sides become multiples of a token's edge, the area falls into the budget, the shape
// changes as little as possible.
//
// 1. `round` is Python's: halves go to the even neighbour. A quotient of integers that is no exact half
//    never rounds to one, so integers decide it.
// 2. The scale β is a double and is divided and multiplied in Python's order: the floor depends on it.

/// Target sizes of images and clips.
public enum SmartResize {
    static let largestSide = 1 << 24

    /// Target of one image, or of each frame of a Qwen2.5-VL clip.
    public static func image(
        _ size: PixelSize,
        factor: Int,
        budget: PixelBudget
    ) throws(GeometryError) -> PixelSize {
        try scaled(size, frames: 1, roundedFrames: 1, factor: factor, budget: budget)
    }

    /// Target of the frames of a Qwen3-VL clip, whose budget covers all its frames together.
    public static func clip(
        _ size: PixelSize,
        frames: Int,
        layout: PatchLayout,
        budget: PixelBudget
    ) throws(GeometryError) -> PixelSize {
        guard layout.isValid else {
            throw .settings("patch \(layout.patch), merge \(layout.merge)")
        }
        guard frames >= layout.temporalPatch else {
            throw .tooFewFrames(frames, needed: layout.temporalPatch)
        }
        try check(size)
        let factor = layout.factor
        var source = size
        if size.height < factor || size.width < factor {
            let edge = Double(factor)
            let scale = max(edge / Double(size.height), edge / Double(size.width))
            source = PixelSize(
                width: try whole(Double(size.width) * scale, size),
                height: try whole(Double(size.height) * scale, size)
            )
        }
        let even = halfEven(frames, layout.temporalPatch) * layout.temporalPatch
        return try scaled(
            source,
            frames: frames,
            roundedFrames: even,
            factor: factor,
            budget: budget
        )
    }

    private static func scaled(
        _ size: PixelSize,
        frames: Int,
        roundedFrames: Int,
        factor: Int,
        budget: PixelBudget
    ) throws(GeometryError) -> PixelSize {
        try check(size)
        guard (1...65_536).contains(factor), (1...1_000_000).contains(frames) else {
            throw .settings("factor \(factor), \(frames) frames")
        }
        guard budget.min >= 0, budget.max > 0 else {
            throw .settings("\(budget.min) to \(budget.max) pixels")
        }
        let (long, short) = (max(size.width, size.height), min(size.width, size.height))
        guard long <= 200 * short else { throw .aspectRatio(size) }
        let edge = Double(factor)
        let (w, h) = (Double(size.width), Double(size.height))
        var target = PixelSize(
            width: halfEven(size.width, factor) * factor,
            height: halfEven(size.height, factor) * factor
        )
        // At most 2^20 · 2^25 · 2^25: cannot overflow for sides that passed.
        let (area, tooLarge) = (roundedFrames * target.height)
            .multipliedReportingOverflow(by: target.width)
        let (volume, tooLong) = (frames * size.height).multipliedReportingOverflow(by: size.width)
        guard !tooLarge, !tooLong else { throw .side(size) }
        if area > budget.max {
            let beta = (Double(volume) / Double(budget.max)).squareRoot()
            target.height = max(factor, try whole((h / beta / edge).rounded(.down), size) * factor)
            target.width = max(factor, try whole((w / beta / edge).rounded(.down), size) * factor)
        } else if area < budget.min {
            let beta = (Double(budget.min) / Double(volume)).squareRoot()
            target.height = try whole((h * beta / edge).rounded(.up), size) * factor
            target.width = try whole((w * beta / edge).rounded(.up), size) * factor
        }
        guard target.width > 0, target.height > 0 else { throw .side(size) }
        return target
    }

    private static func check(_ size: PixelSize) throws(GeometryError) {
        guard (1...largestSide).contains(size.width), (1...largestSide).contains(size.height)
        else { throw .side(size) }
    }

    private static func whole(_ value: Double, _ size: PixelSize) throws(GeometryError) -> Int {
        guard value >= 0, value <= Double(largestSide) else { throw .side(size) }
        return Int(value)
    }

    /// Python's `round(a / b)` for a ≥ 0 and b > 0.
    static func halfEven(_ a: Int, _ b: Int) -> Int {
        let (quotient, rest) = a.quotientAndRemainder(dividingBy: b)
        if 2 * rest == b { return quotient + (quotient & 1) }
        return 2 * rest > b ? quotient + 1 : quotient
    }
}
