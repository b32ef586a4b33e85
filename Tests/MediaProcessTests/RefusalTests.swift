import CMedia
import MediaLink
import Testing
import Vision

@Suite struct RefusalTests {
    static let image = ImageRule(
        layout: PatchLayout(patch: 14),
        budget: PixelBudget(min: 3136, max: 12_845_056)
    )
    static let video = VideoRule(
        family: .qwen3VL,
        layout: PatchLayout(patch: 16),
        budget: PixelBudget(min: 4096, max: 25_165_824)
    )

    @Test func `what is no medium, damaged or too large is refused with a reason, quickly`() throws
    {
        let lines = try Fixture.lines("bad")
        #expect(lines.count > 12)
        for line in lines {
            let bytes = try Fixture.bytes(line[1])
            let wish: MediaJob.Wish =
                line[1].hasSuffix(".mp4") ? .video(Self.video) : .image(Self.image)
            let job = MediaJob(wish, inputBytes: bytes.count, outputBytes: 1 << 24)
            let outcome = try MediaProcess.run(job, on: bytes)
            let found = failure(outcome)
            let failure = try #require(found, "\(line)")
            #expect(failure.code.rawValue == line[2], "\(line) \(failure)")
            #expect(failure.message.count > 10 && outcome.status == 0)
            #expect(outcome.seconds < 2)
        }
    }

    @Test func `an image for a video and a video for an image are told apart`() throws {
        let clip = try Fixture.bytes("h264.mp4")
        let asImage = MediaJob(.image(nil), inputBytes: clip.count, outputBytes: 1 << 24)
        #expect(failure(try MediaProcess.run(asImage, on: clip))?.code == .unsupported)
        let picture = try Fixture.bytes("rgb.png")
        let asVideo = MediaJob(.video(Self.video), inputBytes: picture.count, outputBytes: 1 << 24)
        #expect(failure(try MediaProcess.run(asVideo, on: picture))?.code == .unsupported)
    }

    @Test func `limits on pixels, frames, length and output hold`() throws {
        let clip = try Fixture.bytes("h264.mp4")
        let changes: [(inout MediaJob) -> Void] = [
            { $0.limits.pixels = 1023 }, { $0.limits.side = 31 }, { $0.limits.frames = 5 },
            { $0.limits.chosenFrames = 3 }, { $0.limits.seconds = 0 }, { $0.outputBytes = 1000 },
        ]
        for change in changes {
            var job = MediaJob(.video(Self.video), inputBytes: clip.count, outputBytes: 1 << 24)
            change(&job)
            #expect(failure(try MediaProcess.run(job, on: clip))?.code == .tooLarge)
        }
        let scans = try Fixture.bytes("progressive.jpg")
        var job = MediaJob(.image(nil), inputBytes: scans.count, outputBytes: 1 << 24)
        job.limits.scans = 3
        #expect(failure(try MediaProcess.run(job, on: scans))?.code == .tooLarge)
    }

    @Test func `messages that are no jobs are answered and end the process`() throws {
        let bytes = try Fixture.bytes("rgb.png")
        for text in ["", "[]", "{", #"{"image":{}}"#, #"{"video":{"family":"x"}}"#] {
            let body = Array(text.utf8)
            let message = [UInt8(body.count), 0, 0, 0] + body
            let outcome = try MediaProcess().run(message, input: bytes, room: 100)
            #expect(failure(outcome)?.code == .internal && outcome.status == 0, "\(text)")
        }
        let endless = try MediaProcess().run([255, 255, 255, 255], input: bytes, room: 100)
        #expect(endless.reply == nil && endless.status == 1)
        let claims = MediaJob(.image(nil), inputBytes: bytes.count + 1, outputBytes: 1 << 20)
        #expect(failure(try MediaProcess.run(claims, on: bytes))?.code == .internal)
    }

    @Test func `bytes changed at random never crash the decoders`() throws {
        var random = SplitMix(state: 42)
        let names = ["ss2.jpg", "rgba.png", "lossy.webp", "animated.gif", "p.bmp", "alpha.webp"]
        for name in names {
            let whole = try Fixture.bytes(name)
            for _ in 0..<60 {
                var bytes = whole
                for _ in 0..<(1 + random.next() % 8) {
                    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(random.next() & 255)
                }
                _ = try? pixels(of: Array(bytes.prefix(bytes.count - Int(random.next() % 64))))
            }
        }
    }

    private func failure(_ outcome: MediaProcess.Outcome) -> MediaFailure? {
        guard case .failure(let failure) = outcome.reply else { return nil }
        return failure
    }
}

/// Repeatable numbers.
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
