internal import Checkpoints
internal import EngineLink
internal import Models
internal import NN
internal import Pixels
internal import Torch
internal import Vision

/// The images and clips of one prompt, as one model takes them: where they stand, and their pixels.
struct MediaPrompt {
    /// One of them.
    struct Medium {
        let spans: [Range<Int>]
        let input: VisionInput
        let identity: [UInt8]
    }

    /// What is known of a medium's pixels before the model is.
    struct Source {
        let kind: PromptMedia.Kind
        let frames, width, height: Int
        let spans: [Range<Int>]
        let secondsPerGrid: Double?
        let identity: [UInt8]
        let read: ((UnsafeRawBufferPointer) -> Tensor) -> Tensor
    }

    /// In the order of their placeholders.
    let media: [Medium]
    /// Positions of the prompt's tokens, and of those behind it.
    let index: RotaryIndex

    /// Why media cannot go into this model's prompt.
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// `count`: tokens of the prompt.
    /// - Throws: `Refusal`.
    init(
        _ sources: [Source],
        count: Int,
        model: any VisionLanguageModel,
        processor: VisionProcessor,
        rule: RotaryIndex.TimeRule
    ) throws(Refusal) {
        let layout = model.patchLayout
        var media: [Medium] = []
        var spans: [MediaSpan] = []
        for source in sources {
            let pixels = PixelPatches(
                frames: source.frames,
                width: source.width,
                height: source.height,
                layout: layout,
                normalization: source.kind == .image
                    ? processor.imageNormalization : processor.videoNormalization,
                read: source.read
            )
            guard source.width % layout.factor == 0, source.height % layout.factor == 0 else {
                throw Refusal(description: "a medium's size is no multiple of \(layout.factor)")
            }
            media.append(
                Medium(
                    spans: source.spans,
                    input: VisionInput(grid: pixels.grid, patches: { pixels($0) }),
                    identity: source.identity
                )
            )
            spans.append(
                MediaSpan(
                    spans: source.spans,
                    grid: pixels.grid,
                    secondsPerGrid: model.tokensPerSecond > 0 ? source.secondsPerGrid : nil
                )
            )
        }
        self.media = media
        do {
            index = try RotaryIndex(
                count: count,
                media: spans,
                merge: layout.merge,
                tokensPerSecond: model.tokensPerSecond,
                rule: rule
            )
        } catch { throw Refusal(description: "\(error)") }
    }

    /// Positions of the rows `range` of the sequence, on three axes.
    func positions(_ range: Range<Int>) -> [[Int32]] {
        index.axes.map { axis in
            range.map { place in
                place < axis.count ? axis[place] : Int32(clamping: place) &+ index.delta
            }
        }
    }

    /// What stands in place of the placeholders among the rows `range` of the sequence.
    ///
    /// `row`: where these begin in the step; `features`: one for each medium.
    func replacements(_ range: Range<Int>, row: Int, features: [VisionFeatures])
        -> [Step.Replacement]
    {
        var replacements: [Step.Replacement] = []
        for (medium, features) in zip(media, features) {
            var first = 0
            for span in medium.spans {
                let shown = span.clamped(to: range)
                if !shown.isEmpty {
                    let start = first + shown.lowerBound - span.lowerBound
                    replacements.append(
                        Step.Replacement(
                            row: row + shown.lowerBound - range.lowerBound,
                            features: features,
                            range: start..<start + shown.count
                        )
                    )
                }
                first += span.count
            }
        }
        return replacements
    }
}
