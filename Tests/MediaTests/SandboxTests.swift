import Foundation
import MediaLink
import Testing
import Vision

@Suite struct SandboxTests {
    @Test(arguments: ["file", "socket", "process", "thread", "exec"])
    func `the kernel ends a media process that reaches outside`(what: String) throws {
        #expect(try MediaProcess(["--probe", what]).wait() == 256 + SIGSYS)
    }

    @Test func `a spare whose front goes away ends by itself`() throws {
        #expect(try MediaProcess().leave() == 1)
    }

    @Test func `memory beyond the limit is a refusal`() throws {
        let bytes = try Fixture.bytes("rgb.png")
        let rule = ImageRule(
            layout: PatchLayout(patch: 14),
            budget: PixelBudget(min: 400_000_000, max: 500_000_000)
        )
        let job = MediaJob(.image(rule), inputBytes: bytes.count, outputBytes: 1 << 31)
        let outcome = try MediaProcess().run(job.message, input: bytes, room: job.outputBytes)
        guard case .failure(let failure) = outcome.reply else {
            Issue.record("no refusal, status \(outcome.status)")
            return
        }
        #expect(failure.code == .tooLarge)
        #expect(failure.message.contains("memory"))
    }

    @Test func `processor time beyond the limit ends the process`() throws {
        let bytes = try Fixture.bytes("h264-rgb.mp4")
        let rule = VideoRule(
            family: .qwen3VL,
            layout: PatchLayout(patch: 16),
            budget: PixelBudget(min: 400_000_000, max: 500_000_000),
            frameCount: 400
        )
        var job = MediaJob(.video(rule), inputBytes: bytes.count, outputBytes: 1 << 31)
        job.limits.cpuSeconds = 1
        let outcome = try MediaProcess().run(job.message, input: bytes, room: job.outputBytes)
        let answered = outcome.reply.map { "\($0)".prefix(300) }
        #expect(answered == nil)
        #expect(outcome.status == 256 + SIGXCPU)
    }
}
