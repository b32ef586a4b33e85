import EngineLink
import Glibc
import Testing

/// What the front's side costs.
@Suite struct CostTests {
    private var cpuSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    @Test func `a thousand streams of twenty tokens a second are one call a step each`() throws {
        let stage = Stage(["--stepMs", "50", "--slots", "1000"]) { $0.maxWaiting = 1000 }
        defer { stage.end() }
        let count = 30
        let audiences = try (0..<1000).map { try stage.submit([Int32($0), 4], tokens: count) }
        #expect(audiences[0].has(1))
        let before = cpuSeconds
        #expect(audiences.allSatisfy { $0.ended() })
        // Usually 5 µs a token, with whatever other tests do meanwhile.
        #expect(cpuSeconds - before < 3)
        for (place, audience) in audiences.enumerated() {
            #expect(audience.tokens() == expected([Int32(place), 4], count))
            let calls = audience.events.count { if case .tokens = $0 { true } else { false } }
            #expect(calls == count)
        }
    }
}
