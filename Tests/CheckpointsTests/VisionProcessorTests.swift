import Checkpoints
import Foundation
import Testing
import Vision

@Suite struct VisionProcessorTests {
    private func processor(_ files: [String: String], _ type: String = "qwen2_5_vl") throws
        -> VisionProcessor?
    {
        let bench = try Bench()
        try bench.write(
            "config.json",
            #"{"model_type":"\#(type)","vision_config":{"patch_size":14}}"#
        )
        for (name, text) in files { try bench.write(name, text) }
        return try VisionProcessor(of: ModelConfiguration(opening: bench.path))
    }

    private let image = "preprocessor_config.json"
    private let video = "video_preprocessor_config.json"
    private let nested = "processor_config.json"

    @Test func `the older spelling bounds images and, without another file, clips`() throws {
        let found = try #require(
            try processor([image: #"{"min_pixels":3136,"max_pixels":12845056,"patch_size":14}"#])
        )
        #expect(found.image.budget == PixelBudget(min: 3136, max: 12_845_056))
        #expect(found.video.budget == found.image.budget)
        #expect(found.video.family == .qwen2VL && found.video.fps == nil && !found.samplesFrames)
        #expect(found.imageNormalization.mean == [0.48145466, 0.4578275, 0.40821073])
        #expect(found.imageToken == 151_655 && found.visionEndToken == 151_653)
    }

    @Test func `the newer spelling, a file each`() throws {
        let found = try #require(
            try processor(
                [
                    image:
                        #"{"size":{"shortest_edge":65536,"longest_edge":16777216},"patch_size":16,"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]}"#,
                    video:
                        #"{"size":{"shortest_edge":4096,"longest_edge":25165824},"fps":1.5,"max_frames":64}"#,
                ],
                "qwen3_vl"
            )
        )
        #expect(found.image.budget == PixelBudget(min: 65536, max: 16_777_216))
        #expect(found.image.layout == PatchLayout(patch: 16))
        #expect(found.video.budget == PixelBudget(min: 4096, max: 25_165_824))
        #expect(found.video.layout == PatchLayout(patch: 16) && found.video.family == .qwen3VL)
        #expect(found.video.fps == 1.5 && found.video.maxFrames == 64 && found.video.minFrames == 4)
        #expect(found.samplesFrames && found.imageNormalization.std == [0.5, 0.5, 0.5])
    }

    @Test func `nested processors go before the files beside them`() throws {
        let flat = #"{"patch_size":7,"size":{"shortest_edge":1,"longest_edge":2}}"#
        let both =
            #"{"image_processor":{"patch_size":16,"min_pixels":9,"size":{"longest_edge":99}},"video_processor":{"temporal_patch_size":4,"do_sample_frames":true}}"#
        let found = try #require(try processor([image: flat, video: flat, nested: both]))
        #expect(found.image.layout.patch == 16)
        #expect(found.image.budget == PixelBudget(min: 9, max: 99))
        #expect(found.video.layout.temporalPatch == 4 && found.samplesFrames)
        let empty = try #require(try processor([image: flat, nested: #"{"processor_class":"X"}"#]))
        #expect(empty.image.layout.patch == 7 && empty.image.budget == PixelBudget(min: 1, max: 2))
    }

    @Test func `the defaults are those of the processors' classes`() throws {
        let second = try #require(try processor([:]))
        #expect(second.image.budget == PixelBudget(min: 3136, max: 1_003_520))
        #expect(second.video.budget == PixelBudget(min: 100_352, max: 602_112))
        #expect(second.video.maxFrames == 768)
        let third = try #require(try processor([:], "qwen3_vl"))
        #expect(third.video.budget == PixelBudget(min: 131_072, max: 786_432))
        #expect(third.video.fps == 2 && third.videoNormalization.mean == [0.5, 0.5, 0.5])
    }

    @Test func `what is switched off has no effect on the numbers`() throws {
        let found = try #require(
            try processor([image: #"{"do_normalize":false,"do_rescale":false}"#])
        )
        #expect(found.imageNormalization.mean == [0, 0, 0])
        #expect(found.imageNormalization.std == [1, 1, 1] && found.imageNormalization.rescale == 1)
    }

    @Test(arguments: [
        #"{"patch_size":0}"#, #"{"patch_size":"14"}"#, #"{"merge_size":1e9}"#,
        #"{"min_pixels":-1}"#,
        #"{"size":{"longest_edge":0}}"#, #"{"image_mean":[1,2]}"#, #"{"image_std":[1,0,1]}"#,
        #"{"image_std":[1,1e300,1]}"#, #"{"rescale_factor":0}"#, #"{"rescale_factor":"x"}"#,
        #"{"resample":4}"#, #"{"resample":"bicubic"}"#, #"{"do_resize":false}"#, "[]", "{",
        #"{"do_normalize":1}"#,
    ])
    func `values that cannot be used are refused`(text: String) {
        #expect(throws: CheckpointError.self) { try processor([image: text]) }
    }

    @Test(arguments: [
        #"{"fps":0}"#, #"{"max_frames":0}"#, #"{"patch_size":0}"#, #"{"resample":5}"#, "{",
        #"{"video_processor_type":"OtherVideoProcessor"}"#,
    ])
    func `unusable values of clips leave images alone`(text: String) throws {
        let found = try #require(try processor([image: #"{"patch_size":16}"#, video: text]))
        #expect(found.image.layout.patch == 16 && found.videoRefusal?.file == video)
        #expect(found.video.layout.patch == 14 && found.video.maxFrames == 768)
    }

    @Test func `a null is as good as nothing, wherever it stands`() throws {
        let keys = [
            "min_pixels", "max_pixels", "size", "patch_size", "merge_size", "temporal_patch_size",
            "fps",
            "resample", "do_resize", "do_normalize", "do_rescale", "rescale_factor", "image_mean",
            "image_std", "num_frames", "min_frames", "max_frames", "do_sample_frames",
            "cap_pixels_per_frame", "max_video_tokens", "video_processor_type",
            "image_processor_type",
        ]
        let nulls = "{\(keys.map { "\"\($0)\":null" }.joined(separator: ","))}"
        for type in ["qwen2_5_vl", "qwen3_vl"] {
            let usual = try #require(try processor([:], type))
            #expect(usual.videoRefusal == nil)
            #expect(try processor([image: nulls], type) == usual)
            #expect(try processor([image: nulls, video: nulls], type) == usual)
            let both = #"{"image_processor":\#(nulls),"video_processor":\#(nulls)}"#
            #expect(try processor([nested: both], type) == usual)
            let edges = #"{"size":{"shortest_edge":null,"longest_edge":null}}"#
            #expect(try processor([image: edges], type) == usual)
            let none = #"{"image_processor":null,"video_processor":null}"#
            let plain = #"{"patch_size":7}"#
            #expect(try processor([image: plain, nested: none], type)?.video.layout.patch == 7)
        }
    }

    @Test func `the class of clips is the one that transformers' AutoVideoProcessor finds`() throws
    {
        let old = #""min_pixels":1000,"max_pixels":90000"#
        let bounded = PixelBudget(min: 1000, max: 90_000)
        for (type, own) in [("qwen2_5_vl", VideoFamily.qwen2VL), ("qwen3_vl", .qwen3VL)] {
            func clips(_ files: [String: String]) throws -> VisionProcessor {
                let found = try #require(try processor(files, type))
                #expect(
                    found.writesTimestamps == (own == .qwen3VL) && found.image.budget == bounded
                )
                return found
            }
            let slow = #"{"image_processor_type":"Qwen2VLImageProcessor",\#(old)}"#
            let fallen = try clips([image: slow])
            #expect(fallen.video.family == .qwen2VL && fallen.video.budget == bounded)
            #expect(fallen.video.fps == nil && !fallen.samplesFrames)
            #expect(fallen.video.maxVideoTokens == 128_000 && fallen.video.layout.patch == 14)
            // No video class is called so, nor so: the model's own counts.
            for other in [#""image_processor_type":"Qwen2VLImageProcessorFast","#, ""] {
                let found = try clips([image: "{\(other)\(old)}"])
                #expect(found.video.family == own)
                let usual = PixelBudget(min: 131_072, max: 786_432)
                #expect(found.video.budget == (own == .qwen3VL ? usual : bounded))
            }
            #expect(try clips([image: slow, video: #"{"fps":1}"#]).video.family == own)
            for (name, family) in [("Qwen2VL", VideoFamily.qwen2VL), ("Qwen3VL", .qwen3VL)] {
                let named = #"{"video_processor_type":"\#(name)VideoProcessor"}"#
                let found = try clips([image: slow, video: named])
                #expect(found.video.family == family && found.samplesFrames == (family == .qwen3VL))
                let inside = #"{"image_processor":\#(slow),"video_processor":\#(named)}"#
                #expect(try clips([nested: inside]).video == found.video)
            }
        }
    }

    @Test func `the way of resizing is the file's`() throws {
        let found = try #require(
            try processor([image: #"{"resample":2}"#, video: #"{"resample":1}"#])
        )
        #expect(found.image.resampling == .bilinear && found.video.resampling == .lanczos)
        #expect(try processor([:])?.image.resampling == .bicubic)
        do {
            _ = try processor([image: #"{"resample":4}"#])
            Issue.record("4 was taken")
        } catch let error as CheckpointError { #expect(error.detail.contains("bilinear (2)")) }
    }

    @Test func `a model without a tower takes no media`() throws {
        let bench = try Bench()
        try bench.write("config.json", #"{"model_type":"qwen2"}"#)
        try bench.write(image, "{")
        #expect(try VisionProcessor(of: ModelConfiguration(opening: bench.path)) == nil)
        #expect(try processor([:], "mystery_vl") == nil)
    }
}
