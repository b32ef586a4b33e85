import CLinux
import EngineLink
import Testing

/// Several engines behind one name.
@Suite struct FleetTests {
    private func fleet(_ count: Int, maxWaiting: Int = 8, _ arguments: [String] = []) -> EngineFleet
    {
        var settings = SupervisorSettings()
        settings.exitGrace = 2
        settings.maxWaiting = maxWaiting
        let folder = Stage.newSocketPath()
        let launchers = (0..<count).map { place in
            let path = "\(folder)-\(place)"
            return SpawnLauncher(
                socketPath: path,
                executable: Stage.executable,
                arguments: ["serve", "--socket", path, "--stepMs", "2"] + arguments,
                nice: 0
            )
        }
        return EngineFleet(settings: settings, launchers: launchers)
    }

    private func submit(
        _ fleet: EngineFleet,
        _ name: String,
        tokens: Int = 4
    ) throws -> (Audience, GenerationID) {
        let audience = Audience()
        let request = GenerationRequest(prompt: [7], stop: StopConditions(maxTokens: tokens))
        let model = LoadRequest(path: "/models/\(name)", modelID: name)
        let id = try fleet.submit(request, model: model, key: "k") { audience.hear($0) }
        return (audience, id)
    }

    private func models(_ fleet: EngineFleet) -> Set<String> {
        Set(fleet.summaries().compactMap { $0.state == .serving ? $0.modelID : nil })
    }

    @Test func `each model has its engine, and the one idle longest makes room`() throws {
        let fleet = fleet(2)
        defer { fleet.stop(drainSeconds: 0, unload: true) }
        for name in ["a", "b", "a", "b"] { #expect(try submit(fleet, name).0.ended()) }
        #expect(models(fleet) == ["a", "b"])
        #expect(fleet.summary().loads == 2)
        #expect(try submit(fleet, "a").0.ended())
        #expect(try submit(fleet, "c").0.ended())
        #expect(models(fleet) == ["a", "c"])
        #expect(fleet.summary().loads == 3)
    }

    @Test func `a name cancels the generation of its own engine`() throws {
        let fleet = fleet(2)
        defer { fleet.stop(drainSeconds: 0, unload: true) }
        let (first, _) = try submit(fleet, "a", tokens: 400)
        let (second, id) = try submit(fleet, "b", tokens: 1_000_000)
        #expect(first.has(1) && second.has(1))
        fleet.cancel(id)
        #expect(eventually(3) { fleet.summary().running == 1 })
        #expect(first.ended())
        fleet.cancel(.max)
    }

    @Test func `all queues together are bounded, and all engines unload`() throws {
        let fleet = fleet(2, maxWaiting: 3, ["--loadSeconds", "0.5"])
        defer { fleet.stop(drainSeconds: 0, unload: true) }
        var waiting: [Audience] = []
        for name in ["a", "b", "a"] { waiting.append(try submit(fleet, name).0) }
        #expect(throws: SupervisorError.self) { try submit(fleet, "b") }
        #expect(waiting.allSatisfy { $0.ended() })
        guard case .unloaded = fleet.unload() else {
            Issue.record("nothing was unloaded")
            return
        }
        #expect(fleet.summaries().allSatisfy { $0.state == .absent })
        #expect(fleet.unload() == .nothingLoaded)
    }
}
