// A model's processor files as rules: what becomes of an image or a clip before the vision tower sees it.
//
// `processor_config.json` nests both processors since transformers 5; older models have
// `preprocessor_config.json` and perhaps `video_preprocessor_config.json`. Nested wins, and clips fall back
// to the image's file, as in transformers 5.17. What no file says, or says as null, is the default of the
// processor's class.

internal import Foundation
internal import JSON
public import Vision

/// How a model wants its images and clips, and the tokens that stand for them in a prompt.
public struct VisionProcessor: Sendable, Equatable {
    /// Pixels to numbers: `(pixel · rescale − mean) / std`, each channel on its own.
    public struct Normalization: Sendable, Equatable {
        /// Of red, green and blue; 0 where `do_normalize` is false.
        public var mean: [Double]
        /// Of red, green and blue; 1 where `do_normalize` is false.
        public var std: [Double]
        /// 1/255; 1 where `do_rescale` is false.
        public var rescale: Double
    }

    /// Sizes of images.
    public var image: ImageRule
    /// Sizes and frames of clips; its `fps` and counts are the files', without any bound of ours.
    public var video: VideoRule
    /// Whether the model's files ask for sampling; else every frame of a clip is meant.
    public var samplesFrames: Bool
    /// Why the model's files allow no clips, whose rules are then the class's defaults.
    public var videoRefusal: CheckpointError?
    /// Whether a prompt names the second before each temporal patch of a clip, as Qwen3-VL wants it.
    public var writesTimestamps: Bool
    /// Numbers of images.
    public var imageNormalization: Normalization
    /// Numbers of clips.
    public var videoNormalization: Normalization
    /// `<|image_pad|>`, one for each merged patch of an image.
    public var imageToken: Int
    /// `<|video_pad|>`, one for each merged patch of a clip.
    public var videoToken: Int
    /// `<|vision_start|>`.
    public var visionStartToken: Int
    /// `<|vision_end|>`.
    public var visionEndToken: Int

    /// The rules of a model; nil where it takes text only.
    /// - Throws: `CheckpointError` that names the file and what it says.
    public init?(of configuration: ModelConfiguration) throws(CheckpointError) {
        let config = configuration.config
        guard configuration.ggufPath == nil, let vision = config["vision_config"],
            vision.object != nil,
            let own = Self.families[configuration.modelType]
        else { return nil }
        let nested = try Self.file("processor_config.json", in: configuration.path)
        let plain = try Self.file("preprocessor_config.json", in: configuration.path)
        let still = Member(
            Self.part("image_processor", of: nested)
                ?? plain.map { ("preprocessor_config.json", $0) }
        )
        // The image processor's class is Qwen2-VL's for all; without a file the tower's own patches count.
        let patch = still.isAbsent ? vision["patch_size"]?.int ?? 14 : 14
        image = ImageRule(
            layout: try still.layout(patch: patch),
            budget: try still.budget(PixelBudget(min: 56 * 56, max: 28 * 28 * 1280)),
            resampling: try still.resampling()
        )
        imageNormalization = try still.normalization(Self.clip)
        let clips: Clips
        do throws(CheckpointError) {
            let file = try Self.file("video_preprocessor_config.json", in: configuration.path)
            let moving = Member(
                Self.part("video_processor", of: nested)
                    ?? file.map { ("video_preprocessor_config.json", $0) }
                    ?? plain.map { ("preprocessor_config.json", $0) }
            )
            clips = try Clips(moving, try moving.family(own))
            videoRefusal = nil
        } catch {
            clips = try Clips(Member(nil), own)
            videoRefusal = error
        }
        video = clips.rule
        samplesFrames = clips.samplesFrames
        videoNormalization = clips.normalization
        writesTimestamps = own == .qwen3VL
        func token(_ key: String, _ usual: Int) -> Int { config[key]?.int ?? usual }
        imageToken = token("image_token_id", 151_655)
        videoToken = token("video_token_id", 151_656)
        visionStartToken = token("vision_start_token_id", 151_652)
        visionEndToken = token("vision_end_token_id", 151_653)
    }

    private static let families: [String: VideoFamily] = [
        "qwen2_vl": .qwen2VL, "qwen2_5_vl": .qwen2VL, "qwen3_vl": .qwen3VL,
    ]
    private static let clip = (
        [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    )
    private static let half = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])

    private struct Clips {
        let rule: VideoRule
        let samplesFrames: Bool
        let normalization: Normalization

        init(_ moving: Member, _ family: VideoFamily) throws(CheckpointError) {
            let isThird = family == .qwen3VL
            let edge = isThird ? 32 * 32 : 28 * 28
            let usual = PixelBudget(min: 128 * edge, max: 768 * edge)
            rule = VideoRule(
                family: family,
                layout: try moving.layout(patch: isThird ? 16 : 14),
                // Qwen3-VL's class has never known the older spelling.
                budget: try moving.budget(usual, older: !isThird),
                fps: try moving.fps(isThird ? 2 : nil),
                frameCount: try moving.count("num_frames", 1...100_000),
                minFrames: try moving.count("min_frames", 1...100_000) ?? 4,
                maxFrames: try moving.count("max_frames", 1...100_000) ?? 768,
                capPixelsPerFrame: try moving.flag("cap_pixels_per_frame") ?? false,
                maxVideoTokens: try moving.count("max_video_tokens", 1...1 << 30),
                resampling: try moving.resampling()
            )
            samplesFrames = try moving.flag("do_sample_frames") ?? isThird
            normalization = try moving.normalization(isThird ? half : clip)
        }
    }

    /// A processor nested in `processor_config.json`; null is as good as absent.
    private static func part(_ key: String, of nested: JSONValue?) -> (String, JSONValue)? {
        guard let value = nested?[key], !value.isNull else { return nil }
        return ("processor_config.json", value)
    }

    private static func file(_ name: String, in folder: String) throws(CheckpointError)
        -> JSONValue?
    {
        guard FileManager.default.fileExists(atPath: "\(folder)/\(name)") else { return nil }
        let file = try MappedFile("\(folder)/\(name)", copying: 1 << 20)
        guard let value = try? JSONValue.parse(file.bytes), value.object != nil else {
            throw CheckpointError(.corrupt, file: name, "is no JSON object")
        }
        return value
    }
}

/// One processor's object.
private struct Member {
    private let name: String
    private let object: JSONValue
    let isAbsent: Bool

    init(_ found: (String, JSONValue)?) {
        name = found?.0 ?? "preprocessor_config.json"
        object = found?.1 ?? .object(JSONObject())
        isAbsent = found == nil
    }

    private func value(_ key: String, of parent: JSONValue? = nil) -> JSONValue? {
        // Not by a closure: there `nil` would be JSON's own null.
        guard let value = (parent ?? object)[key], !value.isNull else { return nil }
        return value
    }

    private func unusable(_ key: String) -> CheckpointError {
        CheckpointError(.unsupported, file: name, "'\(key)' has a value that cannot be used")
    }

    func count(_ key: String, _ range: ClosedRange<Int>, of parent: JSONValue? = nil)
        throws(CheckpointError) -> Int?
    {
        guard let value = value(key, of: parent) else { return nil }
        guard let number = value.int ?? value.double.flatMap(Int.init(exactly:)),
            range.contains(number)
        else { throw unusable(key) }
        return number
    }

    func flag(_ key: String) throws(CheckpointError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let flag = value.bool else { throw unusable(key) }
        return flag
    }

    func fps(_ usual: Double?) throws(CheckpointError) -> Double? {
        guard let value = value("fps") else { return usual }
        guard let fps = value.double, fps > 0, fps <= 1e6 else { throw unusable("fps") }
        return fps
    }

    func layout(patch: Int) throws(CheckpointError) -> PatchLayout {
        if try flag("do_resize") == false { throw unusable("do_resize") }
        return PatchLayout(
            patch: try count("patch_size", 1...1024) ?? patch,
            merge: try count("merge_size", 1...64) ?? 2,
            temporalPatch: try count("temporal_patch_size", 1...64) ?? 2
        )
    }

    func resampling() throws(CheckpointError) -> Resampling {
        guard let number = try count("resample", 0...100) else { return .bicubic }
        guard let found = Resampling(rawValue: number) else {
            let detail =
                "'resample' is \(number); nearest (0), Lanczos (1), bilinear (2) and bicubic (3) are known"
            throw CheckpointError(.unsupported, file: name, detail)
        }
        return found
    }

    /// The class of a model's clips, as transformers' AutoVideoProcessor finds it: by its name; else, in an
    /// image processor's object, by that one's name; else the model's own.
    func family(_ own: VideoFamily) throws(CheckpointError) -> VideoFamily {
        if let type = value("video_processor_type") {
            guard let family = type.string.flatMap({ Self.classes[$0] }) else {
                throw unusable("video_processor_type")
            }
            return family
        }
        let still = value("image_processor_type")?.string ?? ""
        return Self.classes[still.replacing("ImageProcessor", with: "VideoProcessor")] ?? own
    }

    private static let classes: [String: VideoFamily] = [
        "Qwen2VLVideoProcessor": .qwen2VL, "Qwen3VLVideoProcessor": .qwen3VL,
    ]

    /// Both spellings; the older one, beside or inside of `size`, wins where it is known.
    func budget(_ usual: PixelBudget, older: Bool = true) throws(CheckpointError) -> PixelBudget {
        let size = value("size")
        func bound(_ old: String, _ new: String) throws(CheckpointError) -> Int? {
            let range = 1...1 << 40
            if older, let outer = try count(old, range) { return outer }
            guard let size else { return nil }
            if let edge = try count(new, range, of: size) { return edge }
            return try count(old, range, of: size)
        }
        return PixelBudget(
            min: try bound("min_pixels", "shortest_edge") ?? usual.min,
            max: try bound("max_pixels", "longest_edge") ?? usual.max
        )
    }

    func normalization(_ usual: ([Double], [Double])) throws(CheckpointError)
        -> VisionProcessor.Normalization
    {
        func triple(_ key: String, _ usual: [Double]) throws(CheckpointError) -> [Double] {
            guard let value = value(key) else { return usual }
            let numbers =
                value.array?.compactMap(\.double) ?? value.double.map { [$0, $0, $0] } ?? []
            guard numbers.count == 3, numbers.allSatisfy({ $0.isFinite && abs($0) < 1e6 }) else {
                throw unusable(key)
            }
            return numbers
        }
        let normalizes = try flag("do_normalize") ?? true
        let rescales = try flag("do_rescale") ?? true
        let factor = value("rescale_factor").map { $0.double ?? 0 } ?? 1 / 255
        guard factor.isFinite, factor > 0 else { throw unusable("rescale_factor") }
        let std = normalizes ? try triple("image_std", usual.1) : [1, 1, 1]
        guard !std.contains(0) else { throw unusable("image_std") }
        return VisionProcessor.Normalization(
            mean: normalizes ? try triple("image_mean", usual.0) : [0, 0, 0],
            std: std,
            rescale: rescales ? factor : 1
        )
    }
}
