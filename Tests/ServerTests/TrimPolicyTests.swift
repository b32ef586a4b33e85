import Server
import Testing

@Suite struct TrimPolicyTests {
    private var policy = TrimPolicy(threshold: 0.85)

    private func memory(free: Int?, reserved: Int = 500, allocated: Int = 500) -> DeviceMemory {
        DeviceMemory(
            device: "cuda:0",
            allocated: allocated,
            reserved: reserved,
            total: free.map { _ in 1000 },
            free: free
        )
    }

    @Test mutating func `below the threshold, and where nobody tells, nothing is due`() {
        let readings = [memory(free: 1000), memory(free: 151), memory(free: nil)]
        for reading in readings { #expect(policy.isDue(reading, now: 0) == false) }
    }

    @Test mutating func `crossing the threshold is due once, and again after it was left`() {
        let times = [0.0, 1, 100].map { policy.isDue(memory(free: 100), now: $0) }
        #expect(times == [true, false, false], "what is in use cannot be given back")
        let again = [300, 100].map { policy.isDue(memory(free: $0), now: 101) }
        #expect(again == [false, true])
    }

    @Test mutating func `while it stays above, a cache that grew again is due at intervals`() {
        let grown = memory(free: 50, reserved: 600)
        let times = [0.0, 10, TrimPolicy.interval, 45, 2 * TrimPolicy.interval]
            .map { policy.isDue(grown, now: $0) }
        #expect(times == [true, false, true, false, true])
    }

    @Test mutating func `a threshold of 1 is never crossed`() {
        policy = TrimPolicy(threshold: 1)
        let isDue = policy.isDue(memory(free: 0), now: 0)
        #expect(!isDue)
    }
}
