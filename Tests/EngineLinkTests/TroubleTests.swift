import EngineLink
import Glibc
import TestSupport
import Testing

/// Engines that die, hang, lie or do not load.
@Suite struct TroubleTests {
    @Test func `streams go on unharmed when the engine is killed twenty times`() throws {
        let stage = Stage(["--stepMs", "2"])
        defer { stage.end() }
        let audiences = try (0..<8).map {
            try stage.submit([Int32($0), 3], tokens: 500, choices: 2)
        }
        for _ in 0..<20 {
            let counts = audiences.map { $0.tokenEvents.count }
            #expect(zip(audiences, counts).allSatisfy { $0.has($1 + 1) || $0.hasEnded })
            if let pid = stage.supervisor.status().pid { kill(pid, SIGKILL) }
        }
        for (place, audience) in audiences.enumerated() {
            #expect(audience.ended(20))
            for choice in 0..<2 {
                let tokens = audience.tokens(ofChoice: choice)
                #expect(tokens == expected([Int32(place), 3], 500, choice: choice))
            }
            #expect(audience.endings == 1 && audience.failure == nil)
        }
        #expect(stage.supervisor.status().crashes >= 15)
    }

    @Test func `a generation that kills engines ends after three strikes and spares the others`()
        throws
    {
        let stage = Stage(["--stepMs", "2", "--poisonToken", "666"])
        defer { stage.end() }
        let good = try stage.submit([1], tokens: 80)
        #expect(good.has(1))
        let poison = try stage.submit([666])
        #expect(poison.ended() && poison.failure?.code == "engine_failed")
        #expect(good.ended() && good.tokens() == expected([1], 80))
        #expect(stage.supervisor.status().crashes == 3)
    }

    @Test func `an engine that dies after its tokens is replaced as often as it takes`() throws {
        let stage = Stage(["--stepMs", "1", "--crashAfterSteps", "10"])
        defer { stage.end() }
        let audience = try stage.submit([1], tokens: 50)
        #expect(audience.ended() && audience.tokens() == expected([1], 50))
        #expect(audience.events.count { $0 == .restarted } == 5)
    }

    @Test(arguments: ["false", "true"])
    func `an engine that stands still is killed and its streams go on`(deaf: String) throws {
        let stage = Stage(["--stepMs", "1", "--hangAfterSteps", "30", "--deaf", deaf]) {
            $0.hangTimeout = 0.3
        }
        defer { stage.end() }
        let audience = try stage.submit([1], tokens: 40)
        #expect(audience.ended() && audience.tokens() == expected([1], 40))
        #expect(stage.supervisor.status().hangs == 1)
    }

    @Test func `a long prefill is not taken for a hang`() throws {
        let stage = Stage(["--stepMs", "20", "--prefillSteps", "40"]) { $0.hangTimeout = 0.3 }
        defer { stage.end() }
        let audience = try stage.submit([1], tokens: 3)
        #expect(audience.ended() && audience.failure == nil)
        #expect(stage.supervisor.status().hangs == 0)
    }

    @Test func `garbage ends the engine and not the stream`() throws {
        let stage = Stage(["--stepMs", "1", "--garbageAfterSteps", "30"])
        defer { stage.end() }
        let audience = try stage.submit([1], tokens: 40)
        #expect(audience.ended() && audience.tokens() == expected([1], 40))
        #expect(stage.log.text.contains("malformed"))
    }

    @Test func `a failed load is told with its cause and not repeated at once`() throws {
        let stage = Stage(["--loadFailure", "out_of_memory", "--loadSeconds", "0.1"])
        defer { stage.end() }
        let audience = try stage.submit([1])
        #expect(audience.ended())
        #expect(audience.failure?.message == LoadFailureCause.outOfMemory.sentence)
        #expect(audience.failure?.message.contains("/") == false)
        #expect(
            throws: SupervisorError.coolDown(
                retryAfterSeconds: 2,
                sentence: LoadFailureCause.outOfMemory.sentence
            )
        ) {
            try stage.submit([1])
        }
        #expect(stage.wait { $0.state == .coolDown && $0.cause == .outOfMemory })
        // Another model is not refused for it.
        let other = try stage.submit([1], model: Stage.otherModel)
        #expect(other.ended() && other.failure?.code == "model_load_failed")
        #expect(stage.log.text.contains("/secret/path"))
    }

    @Test(arguments: [
        ["--crashesInLoad", "true"], ["--hangsInLoad", "true"], ["--hasWrongVersion", "true"],
    ])
    func `an engine that never gets ready is given up after three attempts`(script: [String]) throws
    {
        let stage = Stage(script) { $0.loadStallTimeout = 0.1 }
        defer { stage.end() }
        let audience = try stage.submit([1])
        #expect(audience.ended() && audience.failure?.code == "model_load_failed")
        #expect(stage.supervisor.status().crashes == 3)
        #expect(stage.supervisor.status().loadFailures == 1)
    }

    @Test func `an executable that is not there is a failed load`() throws {
        let launcher = SpawnLauncher(
            socketPath: Stage.abstractSocket,
            executable: "/nowhere/engine"
        )
        let supervisor = EngineSupervisor(launcher: launcher)
        let audience = Audience()
        _ = try supervisor.submit(
            GenerationRequest(prompt: [1], stop: StopConditions(maxTokens: 1)),
            model: Stage.model,
            key: "k"
        ) { audience.hear($0) }
        #expect(audience.ended() && audience.failure?.message == LoadFailureCause.launch.sentence)
        supervisor.stop(drainSeconds: 0, unload: true)
    }

    @Test func `a request out of range is refused before it reaches an engine`() throws {
        let stage = Stage()
        defer { stage.end() }
        #expect(throws: SupervisorError.invalid("prompt length")) { try stage.submit([]) }
        #expect(throws: SupervisorError.invalid("prompt token")) { try stage.submit([-1]) }
        #expect(throws: SupervisorError.invalid("maxTokens")) { try stage.submit([1], tokens: 0) }
        #expect(stage.supervisor.status().state == .absent)
    }
}
