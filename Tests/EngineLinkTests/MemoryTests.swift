import EngineLink
import Glibc
import Synchronization
import TestSupport
import Testing

/// What a fleet tells of its engines' memory, and of their ends.
@Suite struct MemoryTests {
    private let ends = Ends()

    private final class Ends: Sendable {
        private let heard = Mutex<[EngineEnd]>([])
        func hear(_ end: EngineEnd) { heard.withLock { $0.append(end) } }
        var all: [EngineEnd] { heard.withLock { $0 } }
    }

    private func fleet(_ arguments: [String] = [], idleTimeout: Int = 60) -> EngineFleet {
        var settings = SupervisorSettings()
        settings.idleTimeout = idleTimeout
        settings.minResidency = 0
        let path = Stage.newSocketPath()
        let launcher = SpawnLauncher(
            socketPath: path,
            executable: Stage.executable,
            arguments: ["serve", "--socket", path, "--stepMs", "1"] + arguments,
            nice: 0
        )
        return EngineFleet(
            settings: settings,
            launchers: [launcher],
            ended: { [ends] in ends.hear($0) }
        )
    }

    private func submit(_ fleet: EngineFleet, _ model: LoadRequest = Stage.model) throws -> Audience
    {
        let audience = Audience()
        let request = GenerationRequest(prompt: [7], stop: StopConditions(maxTokens: 3))
        _ = try fleet.submit(request, model: model, key: "k") { audience.hear($0) }
        return audience
    }

    @Test func `a report follows each trim, and says what it gave back`() throws {
        let fleet = fleet([
            "--device", "cuda:0", "--busID", "0000:01:00.0", "--allocatedBytes", "5000",
            "--reservedBytes", "9000",
        ])
        defer { fleet.stop(drainSeconds: 0, unload: true) }
        #expect(fleet.trim(timeout: 1) == 0, "there is no engine yet")
        #expect(try submit(fleet).ended())
        #expect(eventually { fleet.summary().reservedBytes == 9000 })
        #expect(fleet.summary().model?.busID == "0000:01:00.0")
        #expect(fleet.trim(timeout: 5) == 1)
        #expect(fleet.summary().reservedBytes == 5000 && fleet.summary().allocatedBytes == 5000)
    }

    @Test func `an engine that hangs does not hold up who asks for memory`() throws {
        let fleet = fleet(["--hangAfterSteps", "2"])
        let audience = try submit(fleet)
        #expect(audience.has(1))
        usleep(20_000)
        #expect(fleet.trim(timeout: 0.1) == 0)
        let pid = try #require(fleet.summary().pid)
        kill(pid, SIGKILL)
        fleet.stop(drainSeconds: 0, unload: true)
    }

    @Test func `every end of a loaded engine is told once, with its cause and its memory`() throws {
        let fleet = fleet(["--reservedBytes", "9000"], idleTimeout: 1)
        defer { fleet.stop(drainSeconds: 0, unload: true) }
        #expect(try submit(fleet).ended())
        #expect(try submit(fleet, Stage.otherModel).ended())
        let pid = try #require(fleet.summary().pid)
        kill(pid, SIGKILL)
        #expect(eventually { ends.all.count == 2 })
        #expect(try submit(fleet).ended())
        guard case .unloaded = fleet.unload() else {
            Issue.record("not unloaded")
            return
        }
        #expect(ends.all.count == 3, "told before the unload is answered")
        #expect(try submit(fleet).ended())
        #expect(eventually { ends.all.count == 4 })
        #expect(ends.all.map(\.cause) == [.swap, .crash, .manual, .idle])
        #expect(ends.all.map(\.model.modelID) == ["a", "b", "a", "a"])
        #expect(ends.all.allSatisfy { $0.residentBytes > 1 << 20 })
        #expect(ends.all.last?.reservedBytes == 9000)
    }

    @Test func `a failed load is no unload`() throws {
        let fleet = fleet(["--loadFailure", "out_of_memory"])
        #expect(try submit(fleet).ended())
        fleet.stop(drainSeconds: 0, unload: true)
        #expect(ends.all.isEmpty)
    }
}
