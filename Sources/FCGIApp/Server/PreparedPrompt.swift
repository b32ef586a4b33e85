// Where a prompt's media stand: the template writes one placeholder a medium; here each becomes as many
// tokens as the vision tower makes, as the processors of transformers 5.17 write them.

internal import Checkpoints
internal import Crypto
internal import EngineLink
internal import Foundation
internal import Media
internal import MediaLink
internal import OpenAI
internal import Text
internal import Vision

/// A conversation as the engine gets it.
struct PreparedPrompt: Sendable {
    /// As the template wrote it: one placeholder a medium.
    let text: String
    /// With as many placeholders as each medium has tokens.
    let ids: [Int32]
    /// In the order of their placeholders.
    let media: [PlacedMedium]
    /// Seconds of fetching and decoding them.
    var mediaSeconds = 0.0
}

/// One image or clip and its place.
struct PlacedMedium: Sendable {
    let kind: MediaPart.Kind
    let prepared: PreparedMedia
    /// Patches.
    let grid: PatchGrid
    /// Placeholder tokens in the prompt, in order.
    let spans: [Range<Int>]
    /// Qwen2.5-VL's clips: seconds from one temporal patch to the next.
    let secondsPerGrid: Double?
    /// Qwen3-VL's clips: the second that stands before each temporal patch.
    let timestamps: [Double]?

    /// Tokens that stand for it.
    var tokens: Int { spans.reduce(0) { $0 + $1.count } }

    /// What the answer tells about it.
    var usage: MediaUsage {
        let result = prepared.decoded.result
        return MediaUsage(
            kind: kind,
            frames: result.frames,
            width: result.size.width,
            height: result.size.height,
            tokens: tokens,
            fps: result.choice?.sampledFPS
        )
    }

    /// The medium in the engine's form; nil where there are no more descriptors.
    ///
    /// Its identity is the owner's: what one owner sent tells another nothing.
    func promptMedia(owner: String) -> PromptMedia? {
        let result = prepared.decoded.result
        guard let descriptor = prepared.decoded.pixels.duplicate(),
            let pixels = try? SharedPixels(descriptor: descriptor, byteCount: result.bytes)
        else { return nil }
        var hash = SHA256()
        let sizes = "\(result.frames) \(result.size.height) \(result.size.width)"
        hash.update(data: Data("\(owner.utf8.count) \(owner) \(kind.rawValue) \(sizes)\n".utf8))
        pixels.withBytes { hash.update(bufferPointer: $0) }
        return PromptMedia(
            kind: kind == .image ? .image : .video,
            frames: result.frames,
            width: result.size.width,
            height: result.size.height,
            spans: spans,
            secondsPerGrid: secondsPerGrid,
            identity: Array(hash.finalize()),
            pixels: pixels
        )
    }
}

/// Puts media into the places that a template left for them.
struct MediaPlacement {
    let vision: VisionProcessor
    let tokenizer: Tokenizer

    private struct Spot {
        let medium: Int
        let spans: [Range<Int>]
    }

    /// The prompt with each placeholder written out.
    /// - Throws: 400 where the template has another number of places than there are media.
    func place(_ prompt: PromptTemplate.Prompt, _ media: [(MediaPart.Kind, PreparedMedia)])
        throws(APIError) -> PreparedPrompt
    {
        var images = media.indices.filter { media[$0].0 == .image }[...]
        var clips = media.indices.filter { media[$0].0 == .video }[...]
        var ids: [Int32] = []
        ids.reserveCapacity(prompt.ids.count + 1024 * media.count)
        var placed: [PlacedMedium] = []
        for id in prompt.ids {
            let medium: Int?
            switch Int(id) {
            case vision.imageToken: medium = images.popFirst()
            case vision.videoToken: medium = clips.popFirst()
            default:
                ids.append(id)
                continue
            }
            guard let medium else { throw Self.mismatch }
            placed.append(write(media[medium].0, media[medium].1, id, to: &ids))
        }
        guard images.isEmpty, clips.isEmpty else { throw Self.mismatch }
        return PreparedPrompt(text: prompt.text, ids: ids, media: placed)
    }

    private static let mismatch = APIError.invalidValue(
        "messages",
        "the model's chat template does not have one place for each image and clip."
    )

    private func write(
        _ kind: MediaPart.Kind,
        _ prepared: PreparedMedia,
        _ id: Int32,
        to ids: inout [Int32]
    ) -> PlacedMedium {
        let result = prepared.decoded.result
        let layout = kind == .image ? vision.image.layout : vision.video.layout
        let frames = kind == .image ? layout.temporalPatch : result.frames
        let grid = PatchGrid(frames: frames, size: result.size, layout: layout)
        var spans: [Range<Int>] = []
        func pads(_ count: Int) {
            let start = ids.count
            ids.append(contentsOf: repeatElement(id, count: count))
            spans.append(start..<ids.count)
        }
        var stamps: [Double]?
        var seconds: Double?
        if kind == .video, let choice = result.choice, vision.writesTimestamps {
            let times = choice.timestamps(temporalPatch: layout.temporalPatch)
            stamps = times
            for time in times {
                let words = "<\(Self.tenths(time)) seconds>"
                ids += tokenizer.encode(words, addSpecialTokens: false, parseSpecial: false)
                ids.append(Int32(clamping: vision.visionStartToken))
                pads(grid.tokensPerStep(merge: layout.merge))
                ids.append(Int32(clamping: vision.visionEndToken))
            }
        } else {
            if kind == .video {
                seconds = result.choice?.secondsPerGrid(temporalPatch: layout.temporalPatch)
            }
            pads(grid.tokens(merge: layout.merge))
        }
        return PlacedMedium(
            kind: kind,
            prepared: prepared,
            grid: grid,
            spans: spans,
            secondsPerGrid: seconds,
            timestamps: stamps
        )
    }

    /// Python's `f"{time:.1f}"`.
    private static func tenths(_ time: Double) -> String {
        String(format: "%.1f", time)
    }
}
