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
        #"{"resample":2}"#, #"{"do_resize":false}"#, #"{"fps":0}"#, #"{"max_frames":0}"#, "[]", "{",
        #"{"do_normalize":1}"#,
    ])
    func `values that cannot be used are refused`(text: String) {
        #expect(throws: CheckpointError.self) { try processor([image: text]) }
    }

    @Test func `a model without a tower takes no media`() throws {
        let bench = try Bench()
        try bench.write("config.json", #"{"model_type":"qwen2"}"#)
        try bench.write(image, "{")
        #expect(try VisionProcessor(of: ModelConfiguration(opening: bench.path)) == nil)
        #expect(try processor([:], "mystery_vl") == nil)
    }
}
