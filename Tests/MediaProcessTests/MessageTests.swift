import JSON
import MediaLink
import Testing
import Vision

@Suite struct MessageTests {
    @Test func `jobs and replies survive their message`() throws {
        let layout = PatchLayout(patch: 16, merge: 3, temporalPatch: 4)
        let budget = PixelBudget(min: 5, max: 700)
        var video = VideoRule(
            family: .qwen3VL,
            layout: layout,
            budget: budget,
            fps: 1.5,
            frameCount: nil,
            minFrames: 3,
            maxFrames: 17,
            capPixelsPerFrame: true,
            maxVideoTokens: 99
        )
        let wishes: [MediaJob.Wish] = [
            .image(nil), .image(ImageRule(layout: layout, budget: budget)), .video(video),
        ]
        video.fps = nil
        video.frameCount = 6
        for wish in wishes + [.video(video)] {
            var job = MediaJob(wish, inputBytes: 77, outputBytes: 88)
            job.orient = true
            job.limits.scans = 3
            job.limits.cpuSeconds = 9
            #expect(try MediaJob(json: try JSONValue.parse(job.message.dropFirst(4))) == job)
        }
        var result = MediaResult(
            format: "vp9",
            source: PixelSize(width: 10, height: 20),
            size: PixelSize(width: 28, height: 56),
            frames: 2,
            choice: FrameChoice(
                indices: [0, 5],
                timeline: VideoTimeline(frames: 9, fps: 30000.0 / 1001.0)
            ),
            rate: MediaResult.Rate(30000, 1001)
        )
        result.decodeMicroseconds = 5
        let replies: [MediaReply] = [
            .success(result), .failure(MediaFailure(.tooLarge, "a \"quoted\" reason")),
        ]
        for reply in replies {
            #expect(try MediaReply(json: try JSONValue.parse(reply.message.dropFirst(4))) == reply)
        }
    }

    @Test func `replies with impossible numbers are refused`() throws {
        let good =
            #"{"format":"png","source_width":1,"source_height":1,"width":2,"height":2,"frames":1,"decode_us":0,"resize_us":0}"#
        #expect(throws: Never.self) { try MediaReply(json: try JSONValue.parse(good)) }
        let edits = [
            (#""width":2"#, #""width":0"#), (#""height":2"#, #""height":99999999999"#),
            (#""frames":1"#, #""frames":-1"#), (#""frames":1"#, #""frames":1,"rate":[1,0]"#),
            (#""frames":1"#, #""frames":1,"total_frames":4,"indices":[4]"#),
            (#""frames":1"#, #""frames":1,"total_frames":4,"indices":[1,2]"#),
        ]
        for (old, new) in edits {
            let text = good.replacing(old, with: new)
            #expect(throws: MediaLinkError.self) {
                try MediaReply(json: try JSONValue.parse(text))
            }
        }
    }
}
