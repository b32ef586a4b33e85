public import Checkpoints
public import Torch
public import Vision

/// Frames of one image or clip as the rows that a vision tower reads.
///
/// A temporal patch that lacks frames, as an image's does, repeats the last one.
public struct PixelPatches {
    /// Patches along time, height and width.
    public let grid: PatchGrid
    private let frames, width, height: Int
    private let layout: PatchLayout
    private let mean, deviation: [Float]
    private let read: ((UnsafeRawBufferPointer) -> Tensor) -> Tensor

    /// `frames` × `height` × `width` × 3 bytes, RGB, that `read` lends for the time of a call.
    public init(
        frames: Int,
        width: Int,
        height: Int,
        layout: PatchLayout,
        normalization: VisionProcessor.Normalization,
        read: @escaping ((UnsafeRawBufferPointer) -> Tensor) -> Tensor
    ) {
        self.frames = frames
        self.width = width
        self.height = height
        self.layout = layout
        self.read = read
        grid = PatchGrid(
            frames: frames,
            size: PixelSize(width: width, height: height),
            layout: layout
        )
        // As transformers computes it: (pixel - mean / rescale) / (std / rescale), all in float32.
        let scale = Float(1 / normalization.rescale)
        mean = normalization.mean.map { Float($0) * scale }
        deviation = normalization.std.map { Float($0) * scale }
    }

    /// `[height · width, 3 · temporal patch · patch²]` of one temporal patch, float32.
    public func callAsFunction(_ time: Int) -> Tensor {
        let bytes = width * height * 3
        return read { pixels in
            guard time >= 0, time < grid.time, frames > 0, pixels.count == frames * bytes else {
                Torch.fail("pixels that are not \(frames) frames of \(width) × \(height)")
                return .undefined
            }
            let shown = (0..<layout.temporalPatch).map { index in
                let frame = min(frames - 1, time * layout.temporalPatch + index)
                return UnsafeRawBufferPointer(rebasing: pixels[frame * bytes..<(frame + 1) * bytes])
            }
            return .patches(
                of: shown,
                height: height,
                width: width,
                patch: layout.patch,
                merge: layout.merge,
                mean: mean,
                deviation: deviation
            )
        }
    }
}
