import Testing
import Vision

@Suite struct GeometryTests {
    @Test func `every image gets the size that transformers gives it`() throws {
        let lines = try references("image")
        #expect(lines.count > 400)
        for line in lines {
            let n = try line[1...5].map(integer)
            let found = try? SmartResize.image(
                PixelSize(width: n[3], height: n[4]),
                factor: n[0],
                budget: PixelBudget(min: n[1], max: n[2])
            )
            let expected =
                line[6] == "-"
                ? nil : PixelSize(width: try integer(line[6]), height: try integer(line[7]))
            #expect(found == expected, "\(line)")
        }
    }

    @Test func `every clip gets the size that transformers gives it`() throws {
        let lines = try references("clip")
        #expect(lines.count > 300)
        for line in lines {
            let family = try #require(VideoFamily(rawValue: line[1]))
            let n = try line[2...7].map(integer)
            let rule = VideoRule(
                family: family,
                layout: PatchLayout(patch: family == .qwen2VL ? 14 : 16),
                budget: PixelBudget(min: n[1], max: n[2]),
                capPixelsPerFrame: n[0] == 1
            )
            let found = try? rule.target(of: PixelSize(width: n[4], height: n[5]), frames: n[3])
            let expected =
                line[8] == "-"
                ? nil : PixelSize(width: try integer(line[8]), height: try integer(line[9]))
            #expect(found == expected, "\(line)")
        }
    }

    @Test func `the frames of a clip are those that transformers samples`() throws {
        let lines = try references("choose")
        #expect(lines.count > 400)
        for line in lines {
            let family = try #require(VideoFamily(rawValue: line[1]))
            let rule = VideoRule(
                family: family,
                layout: PatchLayout(patch: 14),
                budget: PixelBudget(min: 1, max: 1 << 20),
                fps: Double(line[4]),
                frameCount: Int(line[5]),
                minFrames: try integer(line[6]),
                maxFrames: try integer(line[7])
            )
            let clip = VideoTimeline(frames: try integer(line[2]), fps: Double(line[3]))
            let found = try? rule.choose(from: clip)
            if line[8] == "-" {
                #expect(found == nil, "\(line)")
                continue
            }
            let choice = try #require(found, "\(line)")
            #expect(choice.indices.count == Int(line[9]), "\(line)")
            #expect(choice.indices.first == Int(line[10]) && choice.indices.last == Int(line[11]))
            #expect(hash(choice.indices) == UInt64(line[8]), "\(line)")
            #expect(choice.sampledFPS == Double(line[12]), "\(line)")
            let stamps = choice.timestamps(temporalPatch: 2).map { Int($0 * 1e6) }
            #expect(hash(stamps) == UInt64(line[13]), "\(line)")
        }
    }

    @Test func `a clip of one frame is a pair of it for Qwen2.5-VL and refused for Qwen3-VL`()
        throws
    {
        let size = PixelSize(width: 112, height: 84)
        var rule = VideoRule(
            family: .qwen2VL,
            layout: PatchLayout(patch: 14),
            budget: PixelBudget(min: 3136, max: 1 << 20),
            fps: nil
        )
        let one = VideoTimeline(frames: 1, fps: 10)
        let choice = try rule.choose(from: one)
        #expect(choice.indices == [0] && choice.secondsPerGrid(temporalPatch: 2) == 0.2)
        #expect(try rule.grid(of: size, frames: 1) == PatchGrid(time: 1, height: 6, width: 8))
        // Sampling takes whole pairs only.
        rule.fps = 2
        #expect(throws: GeometryError.tooFewFrames(1, needed: 2)) { try rule.choose(from: one) }
        rule.family = .qwen3VL
        #expect(try rule.choose(from: one).indices == [0])
        #expect(throws: GeometryError.tooFewFrames(1, needed: 2)) {
            try rule.target(of: size, frames: 1)
        }
        rule.frameCount = 4
        #expect(try rule.choose(from: one).indices == [0, 0, 0, 0])
    }

    @Test func `grids count patches and tokens`() throws {
        let rule = ImageRule(
            layout: PatchLayout(patch: 14),
            budget: PixelBudget(min: 3136, max: 12_845_056)
        )
        let grid = try rule.grid(of: PixelSize(width: 1024, height: 1024))
        #expect(grid == PatchGrid(time: 1, height: 74, width: 74))
        #expect(grid.patches == 5476 && grid.tokens(merge: 2) == 1369)
        let odd = PatchGrid(
            frames: 7,
            size: PixelSize(width: 64, height: 32),
            layout: PatchLayout(patch: 16)
        )
        #expect(odd == PatchGrid(time: 4, height: 2, width: 4))
        #expect(odd.tokens(merge: 2) == 8 && odd.tokensPerStep(merge: 2) == 2)
    }

    @Test func `impossible shapes and settings are errors with a reason`() {
        let good = PixelBudget(min: 3136, max: 12_845_056)
        let shapes = [(0, 10), (10, 0), (-5, 5), (Int.max, Int.max), (Int.max, 1), (30000, 10)]
        for (width, height) in shapes {
            let size = PixelSize(width: width, height: height)
            #expect(throws: GeometryError.self) {
                try SmartResize.image(size, factor: 28, budget: good)
            }
            #expect(throws: GeometryError.self) {
                try SmartResize.clip(size, frames: 2, layout: PatchLayout(patch: 16), budget: good)
            }
        }
        let square = PixelSize(width: 100, height: 100)
        for factor in [0, -28, Int.max] {
            #expect(throws: GeometryError.self) {
                try SmartResize.image(square, factor: factor, budget: good)
            }
        }
        for budget in [PixelBudget(min: 0, max: 0), PixelBudget(min: Int.max, max: Int.max)] {
            #expect(throws: GeometryError.self) {
                try SmartResize.image(square, factor: 28, budget: budget)
            }
        }
        #expect(
            GeometryError.aspectRatio(PixelSize(width: 30000, height: 10)).description.contains(
                "30000x10"
            )
        )
    }

    @Test func `rates and counts that make no sense never trap`() {
        for family in [VideoFamily.qwen2VL, .qwen3VL] {
            for fps in [0, -1, .nan, .infinity, 1e-300, 1e300] {
                for total in [0, 1, 2, 1000, Int.max, -4] {
                    for count in [nil, 0, -3, Int.max, Int.min] {
                        var rule = VideoRule(
                            family: family,
                            layout: PatchLayout(patch: 14),
                            budget: PixelBudget(min: 1, max: 1000),
                            fps: fps,
                            frameCount: count
                        )
                        _ = try? rule.choose(from: VideoTimeline(frames: total, fps: fps))
                        _ = try? rule.choose(from: VideoTimeline(frames: total, fps: 30))
                        rule.capPixelsPerFrame = true
                        rule.maxVideoTokens = total
                        _ = try? rule.target(of: PixelSize(width: 20, height: 20), frames: total)
                    }
                }
            }
        }
    }
}
