import EngineLink
import Glibc
import Synchronization
import TestSupport
import Testing

/// A supervisor and real engine processes that do what they should.
@Suite struct ServingTests {
    @Test func `the first request starts an engine and gets its tokens in order`() throws {
        let stage = Stage(["--stepMs", "1", "--loadSeconds", "0.2"])
        defer { stage.end() }
        let audience = try stage.submit([1, 2, 3], tokens: 12)
        #expect(audience.ended())
        #expect(audience.tokens() == expected([1, 2, 3], 12))
        #expect(audience.tokenEvents.last?.finish == .length)
        #expect(audience.events.first == .loading(fraction: 0))
        #expect(audience.events.contains(.loading(fraction: 0.5)))
        #expect(audience.events.last == .finished)
        let status = stage.supervisor.status()
        #expect(status.state == .serving && status.loads == 1 && status.model?.modelID == "a")
        #expect((status.loadSeconds ?? 0) > 0.1 && status.pid != nil)
    }

    @Test func `many streams on few slots all get their own tokens`() throws {
        let stage = Stage(["--stepMs", "1", "--slots", "5"])
        defer { stage.end() }
        let audiences = try (0..<60).map { place in
            try stage.submit([Int32(place), 9], tokens: 10, key: "k\(place % 3)")
        }
        for (place, audience) in audiences.enumerated() {
            #expect(audience.ended())
            #expect(audience.tokens() == expected([Int32(place), 9], 10))
        }
    }

    @Test func `choices beyond the slots run one after the other`() throws {
        let stage = Stage(["--stepMs", "1", "--slots", "3"])
        defer { stage.end() }
        let audience = try stage.submit([5], tokens: 6, choices: 8, logprobs: 2)
        #expect(audience.ended())
        for choice in 0..<8 {
            #expect(audience.tokens(ofChoice: choice) == expected([5], 6, choice: choice))
        }
        #expect(audience.tokenEvents.allSatisfy { $0.logprob == -0.5 && $0.top.count == 2 })
        #expect(audience.endings == 1)
    }

    @Test func `a failed generation leaves the others alone`() throws {
        let stage = Stage(["--stepMs", "1", "--failToken", "13"])
        defer { stage.end() }
        let good = try stage.submit([1], tokens: 50)
        let bad = try stage.submit([13])
        #expect(bad.ended() && good.ended())
        #expect(bad.failure?.code == "context_length_exceeded")
        #expect(good.tokens() == expected([1], 50))
    }

    @Test func `an idle engine exits and the next request brings it back`() throws {
        let stage = Stage(["--stepMs", "1"]) { $0.idleTimeout = 1 }
        defer { stage.end() }
        #expect(try stage.submit([1]).ended())
        let pid = try #require(stage.supervisor.status().pid)
        #expect(stage.supervisor.status().remainingIdleSeconds == 1)
        #expect(stage.wait { $0.state == .absent })
        #expect(kill(pid, 0) != 0, "the process is gone once it is reported absent")
        #expect(stage.supervisor.status().unloads == 1)
        #expect(try stage.submit([2]).ended())
        #expect(stage.supervisor.status().loads == 2)
    }

    @Test func `keep_alive of a request decides how long the engine stays`() throws {
        let stage = Stage(["--stepMs", "1"]) { $0.idleTimeout = 60 }
        defer { stage.end() }
        #expect(try stage.submit([1], keepAlive: 0).ended())
        #expect(stage.wait { $0.state == .absent })
        #expect(try stage.submit([1], keepAlive: -1).ended())
        #expect(stage.supervisor.status().remainingIdleSeconds == nil)
        #expect(try stage.submit([1], keepAlive: 1).ended())
        #expect(stage.supervisor.status().remainingIdleSeconds == 1)
        #expect(stage.wait { $0.state == .absent })
    }

    @Test func `preload brings the model without a request`() {
        let stage = Stage()
        defer { stage.end() }
        stage.supervisor.preload(Stage.model)
        #expect(stage.wait { $0.state == .serving })
    }

    @Test func `unload waits for running generations and reports the process's end`() throws {
        let stage = Stage(["--stepMs", "5"])
        defer { stage.end() }
        #expect(stage.supervisor.unload() == .nothingLoaded)
        let audience = try stage.submit([1], tokens: 40)
        #expect(audience.has(1))
        #expect(stage.supervisor.unload(timeout: 0.02) == .busy(running: 1))
        let pid = try #require(stage.supervisor.status().pid)
        guard case .unloaded(let model) = stage.supervisor.unload(timeout: 5) else {
            Issue.record("not unloaded")
            return
        }
        #expect(model?.modelID == "a")
        #expect(kill(pid, 0) != 0)
        #expect(audience.ended() && audience.tokens() == expected([1], 40))
    }

    @Test func `unload by force ends running and waiting generations with an error`() throws {
        let stage = Stage(["--stepMs", "5", "--slots", "1"])
        defer { stage.end() }
        let audiences = try (0..<3).map { try stage.submit([Int32($0)], tokens: 100_000) }
        #expect(audiences[0].has(1))
        _ = stage.supervisor.unload(timeout: 0, force: true)
        #expect(audiences.allSatisfy { $0.ended(1) && $0.failure == .unloaded })
        #expect(stage.supervisor.status().state == .absent)
    }

    @Test func `an engine that ignores unload is ended by force`() throws {
        let stage = Stage(["--stepMs", "1", "--ignoresUnload", "true"]) { $0.exitGrace = 0.2 }
        defer { stage.end() }
        #expect(try stage.submit([1]).ended())
        guard case .unloaded = stage.supervisor.unload() else {
            Issue.record("not unloaded")
            return
        }
    }

    @Test func `beyond the bounded queue a request is refused with a wait`() throws {
        let stage = Stage(["--stepMs", "2", "--slots", "2"]) { $0.maxWaiting = 3 }
        defer { stage.end() }
        let first = try stage.submit([0], tokens: 100_000)
        #expect(first.has(1))
        let others = try (1..<5).map { try stage.submit([Int32($0)], tokens: 100_000) }
        #expect(throws: SupervisorError.self) { try stage.submit([9]) }
        #expect(stage.supervisor.status().waiting == 3)
        #expect(stage.supervisor.status().requests.map(\.queuePosition) == [nil, nil, 1, 2, 3])
        // Cancelled in the queue, then in the engine: each makes room.
        stage.supervisor.cancel(others[3].name)
        let late = try stage.submit([7], tokens: 3)
        for audience in [first] + others { stage.supervisor.cancel(audience.name) }
        #expect(late.ended() && late.tokens() == expected([7], 3))
        #expect(others.allSatisfy { !$0.hasEnded })
        #expect(stage.wait { $0.running == 0 && $0.waiting == 0 && $0.freeSlots == 2 })
    }

    @Test func `a generation can be cancelled while its model loads and before its first token`()
        throws
    {
        let stage = Stage(["--stepMs", "2", "--loadSeconds", "0.3", "--prefillSteps", "1000"])
        defer { stage.end() }
        let loading = try stage.submit([1])
        #expect(stage.wait { $0.state == .loading && $0.progress > 0 })
        stage.supervisor.cancel(loading.name)
        let prefilling = try stage.submit([2])
        #expect(stage.wait { $0.running == 1 && $0.requests.first?.phase == .prefill })
        stage.supervisor.cancel(prefilling.name)
        #expect(stage.supervisor.status().running == 0)
        #expect(eventually { prefilling.hasStarted })
        #expect(!loading.hasStarted)
    }

    @Test func `cancelling the last open choice finishes the generation`() throws {
        let stage = Stage(["--stepMs", "2"])
        defer { stage.end() }
        let audience = try stage.submit([1], tokens: 100_000, choices: 2)
        #expect(audience.has(4))
        let id = audience.name
        stage.supervisor.cancel(id, choice: 1)
        usleep(20_000)
        let frozen = audience.tokens(ofChoice: 1).count
        #expect(audience.has(audience.tokenEvents.count + 5))
        #expect(audience.tokens(ofChoice: 1).count == frozen)
        stage.supervisor.cancel(id, choice: 0)
        #expect(audience.ended() && audience.events.last == .finished)
    }

    @Test func `another model waits for the running generations, then the engine is swapped`()
        throws
    {
        let stage = Stage(["--stepMs", "2"])
        defer { stage.end() }
        let first = try stage.submit([1], tokens: 60)
        #expect(first.has(1))
        let second = try stage.submit([2], tokens: 5, model: Stage.otherModel)
        #expect(first.ended() && second.ended())
        #expect(first.tokens() == expected([1], 60) && second.tokens() == expected([2], 5))
        #expect(!first.events.contains(.restarted))
        #expect(stage.supervisor.status().model?.modelID == "b")
    }

    @Test func `an idle engine gives way to another model, and to other files of its own`() throws {
        let stage = Stage(["--stepMs", "2"])
        defer { stage.end() }
        var replaced = Stage.otherModel
        replaced.filesIdentity = "new"
        let first = try stage.submit([1], tokens: 5)
        #expect(first.ended())
        for model in [Stage.otherModel, replaced] {
            let next = try stage.submit([2], tokens: 5, model: model)
            #expect(next.ended())
            #expect(next.tokens() == expected([2], 5))
            #expect(stage.supervisor.status().model?.modelID == "b")
        }
        #expect(stage.supervisor.status().loads == 3)
    }

    @Test func `a stream of requests for one model does not starve another`() throws {
        let stage = Stage(["--stepMs", "2", "--slots", "2"]) { $0.swapPatience = 0.1 }
        defer { stage.end() }
        var busy = try (0..<4).map { try stage.submit([Int32($0)], tokens: 20) }
        let other = try stage.submit([99], tokens: 3, model: Stage.otherModel)
        let isServed = eventually(5) {
            for place in busy.indices where busy[place].hasEnded {
                if let next = try? stage.submit([Int32(place)], tokens: 20) { busy[place] = next }
            }
            return other.hasEnded
        }
        #expect(isServed)
        #expect(busy.allSatisfy { $0.ended() && $0.failure == nil })
    }

    @Test func `a restarted front finds its engine and loads nothing`() throws {
        let first = Stage(["--stepMs", "1"])
        #expect(try first.submit([1]).ended())
        let pid = first.supervisor.status().pid
        let unfinished = try first.submit([1], tokens: 1_000_000)
        #expect(unfinished.has(1))
        first.supervisor.stop(drainSeconds: 0, unload: false)
        #expect(unfinished.failure == .stopping)
        let second = Stage(["--stepMs", "1"], socketPath: first.socketPath)
        defer { second.end() }
        #expect(second.wait { $0.state == .serving })
        #expect(second.supervisor.status().pid == pid)
        let audience = try second.submit([4], tokens: 9)
        #expect(audience.ended() && audience.tokens() == expected([4], 9))
        #expect(second.supervisor.status().loads == 0)
    }

    @Test func `a front restarted during a load waits for the same load`() throws {
        let first = Stage(["--loadSeconds", "0.5"])
        first.supervisor.preload(Stage.model)
        #expect(first.wait { $0.progress > 0.1 })
        let pid = first.supervisor.status().pid
        first.supervisor.stop(drainSeconds: 0, unload: false)
        let second = Stage(socketPath: first.socketPath)
        defer { second.end() }
        #expect(try second.submit([1]).ended())
        #expect(second.supervisor.status().pid == pid)
    }

    @Test func `an engine whose front does not come back ends after its grace`() throws {
        let stage = Stage()
        defer { stage.end() }
        var model = Stage.model
        model.orphanGrace = 1
        #expect(try stage.submit([1], model: model).ended())
        let pid = try #require(stage.supervisor.status().pid)
        stage.supervisor.stop(drainSeconds: 0, unload: false)
        #expect(kill(pid, 0) == 0)
        // It is our child and nobody's wait: it stays as a zombie, which has no command line.
        #expect(eventually(3) { isZombie(pid) })
    }

    private func isZombie(_ pid: Int32) -> Bool {
        var status: Int32 = 0
        return waitpid(pid, &status, WNOHANG) == pid
    }

    @Test func `receivers may submit, cancel and ask for the status`() throws {
        let stage = Stage(["--stepMs", "1"])
        defer { stage.end() }
        let supervisor = stage.supervisor
        let inner = Audience()
        let outer = Audience()
        let request = GenerationRequest(prompt: [1], stop: StopConditions(maxTokens: 1000))
        let id = try supervisor.submit(request, model: Stage.model, key: "k") { event in
            outer.hear(event)
            guard case .tokens = event, inner.name == 0 else { return }
            let next = try? supervisor.submit(
                GenerationRequest(prompt: [2], stop: StopConditions(maxTokens: 3)),
                model: Stage.model,
                key: "k"
            ) { inner.hear($0) }
            inner.id.store(next ?? 0, ordering: .relaxed)
            supervisor.cancel(outer.name)
            _ = supervisor.status()
        }
        outer.id.store(id, ordering: .relaxed)
        #expect(inner.ended() && inner.failure == nil)
        #expect(stage.wait { $0.running == 0 })
    }

    @Test func `stop lets running generations end and takes nothing new`() throws {
        let stage = Stage(["--stepMs", "2"])
        let audience = try stage.submit([1], tokens: 50)
        #expect(audience.has(1))
        stage.supervisor.stop(drainSeconds: 5, unload: true)
        #expect(audience.tokens() == expected([1], 50))
        #expect(throws: SupervisorError.draining) { try stage.submit([1]) }
        stage.end()
    }
}
