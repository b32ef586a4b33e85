import MediaLink
import Testing
import Vision

@Suite struct DecodeTests {
    static let room = 1 << 24

    @Test func `images have the pixels that Pillow gives them`() throws {
        let lines = try Fixture.lines("image")
        #expect(lines.count > 30)
        for line in lines {
            let bytes = try Fixture.bytes(line[1])
            var job = MediaJob(.image(nil), inputBytes: bytes.count, outputBytes: Self.room)
            job.orient = line[2] == "1"
            let outcome = try MediaProcess.run(job, on: bytes)
            let result = try #require(try outcome.reply?.get(), "\(line)")
            #expect(result.size == PixelSize(width: Int(line[3]) ?? 0, height: Int(line[4]) ?? 0))
            #expect(result.source == result.size)
            #expect(fnv(outcome.pixels) == line[5], "\(line)")
        }
    }

    @Test func `a resized image equals ATen's uint8 resize bit for bit`() throws {
        let bytes = try Fixture.bytes("noise.png")
        for line in try Fixture.lines("resize") {
            let size = PixelSize(width: Int(line[2]) ?? 0, height: Int(line[3]) ?? 0)
            let picture = try pixels(of: bytes)
            #expect(fnv(try resized(picture, to: size, .bicubic)) == line[4], "\(line)")
        }
        let others = try Fixture.lines("sample")
        #expect(others.count == 24)
        for line in others {
            let size = PixelSize(width: Int(line[2]) ?? 0, height: Int(line[3]) ?? 0)
            let way = try #require(Int(line[4]).flatMap(Resampling.init(rawValue:)))
            #expect(fnv(try resized(try pixels(of: bytes), to: size, way)) == line[5], "\(line)")
        }
    }

    @Test func `a model's own way of resizing reaches the decoder`() throws {
        let bytes = try Fixture.bytes("noise.png")
        let layout = PatchLayout(patch: 14)
        let budget = PixelBudget(min: 784, max: 12_845_056)
        for line in try Fixture.lines("sample").filter({ $0[2] == "56" }) {
            let way = try #require(Int(line[4]).flatMap(Resampling.init(rawValue:)))
            let rule = ImageRule(layout: layout, budget: budget, resampling: way)
            let job = MediaJob(.image(rule), inputBytes: bytes.count, outputBytes: Self.room)
            let outcome = try MediaProcess.run(job, on: bytes)
            #expect(fnv(outcome.pixels) == line[5], "\(line)")
        }
    }

    @Test func `an image comes in the size that its model wants`() throws {
        let bytes = try Fixture.bytes("noise.png")
        let rule = ImageRule(
            layout: PatchLayout(patch: 14),
            budget: PixelBudget(min: 784, max: 12_845_056)
        )
        let job = MediaJob(.image(rule), inputBytes: bytes.count, outputBytes: Self.room)
        let outcome = try MediaProcess.run(job, on: bytes)
        let result = try #require(try outcome.reply?.get())
        #expect(result.format == "png" && result.frames == 1 && result.choice == nil)
        #expect(result.source == PixelSize(width: 53, height: 37))
        #expect(result.size == PixelSize(width: 56, height: 28))
        let line = try #require(try Fixture.lines("resize").first { $0[2] == "56" })
        #expect(fnv(outcome.pixels) == line[4])
    }

    @Test func `lossless RGB clips have exactly the frames that went in`() throws {
        let lines = try Fixture.lines("exact")
        #expect(lines.count == 5)
        for line in lines {
            let (result, frames) = try every(line)
            #expect(frames.map { fnv($0) } == line[6].split(separator: ",").map(String.init))
            #expect(result.choice?.indices == Array(0..<frames.count))
        }
    }

    @Test func `frames of other clips are within one of PyAV's`() throws {
        let lines = try Fixture.lines("close")
        #expect(lines.count == 14)
        for line in lines {
            let (result, frames) = try every(line)
            let expected = try Fixture.bytes(line[1] + ".rgb")
            let half = expected.count / 2
            #expect(distance(frames[1], expected[..<half]) <= 1, "\(line)")
            #expect(distance(frames[5], expected[half...]) <= 1, "\(line)")
        }
    }

    @Test func `a clip is sampled and resized by its rule`() throws {
        let bytes = try Fixture.bytes("h264-rgb.mp4")
        let rule = VideoRule(
            family: .qwen3VL,
            layout: PatchLayout(patch: 14),
            budget: PixelBudget(min: 3136, max: 100_000),
            fps: 12
        )
        let job = MediaJob(.video(rule), inputBytes: bytes.count, outputBytes: Self.room)
        let outcome = try MediaProcess.run(job, on: bytes)
        let result = try #require(try outcome.reply?.get())
        #expect(result.choice?.indices == [0, 2, 3, 5])
        #expect(result.rate == MediaResult.Rate(24, 1))
        #expect(result.size == PixelSize(width: 28, height: 28))
        #expect(outcome.pixels.count == 4 * 3 * 28 * 28)
    }

    /// All six frames of a clip in their own size; its line's size and rate are checked.
    @Test func `chosen frames are what they are among all`() throws {
        for line in try Fixture.lines("close") {
            let (_, all) = try every(line)
            let (result, some) = try every(line, fps: 8)
            let indices = try #require(result.choice?.indices)
            #expect(some.count < all.count && some.count == indices.count)
            for (frame, index) in zip(some, indices) { #expect(frame == all[index], "\(line)") }
        }
    }

    private func every(_ line: [String], fps: Double? = nil) throws -> (
        MediaResult, [ArraySlice<UInt8>]
    ) {
        let bytes = try Fixture.bytes(line[1])
        let rule = VideoRule(
            family: .qwen2VL,
            layout: PatchLayout(patch: 1, merge: 1),
            budget: PixelBudget(min: 1, max: 1 << 20),
            fps: fps
        )
        let job = MediaJob(.video(rule), inputBytes: bytes.count, outputBytes: Self.room)
        let outcome = try MediaProcess.run(job, on: bytes)
        let result = try #require(try outcome.reply?.get(), "\(line)")
        #expect(result.size == PixelSize(width: Int(line[2]) ?? 0, height: Int(line[3]) ?? 0))
        #expect(result.choice?.timeline.frames == Int(line[4]), "\(line)")
        let count = result.frames
        #expect(fps != nil || count == Int(line[4]), "\(line)")
        let rate = line[5].split(separator: "/").compactMap { Int($0) }
        #expect(result.rate == MediaResult.Rate(rate[0], rate[1]), "\(line)")
        let frame = outcome.pixels.count / count
        return (result, (0..<count).map { outcome.pixels[($0 * frame)..<(($0 + 1) * frame)] })
    }
}
