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
        let status = try MediaProcess(["--cpu-seconds", "1", "--probe", "time"]).wait()
        #expect(status == 256 + SIGXCPU)
    }
}
