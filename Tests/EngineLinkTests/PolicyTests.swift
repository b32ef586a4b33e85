import CLinux
import EngineLink
import Glibc
import Synchronization
import Testing

/// Single decisions of the state machine, and what the supervisor tells of itself.
@Suite struct PolicyTests {
    private static let request = GenerationRequest(
        prompt: [1],
        stop: StopConditions(maxTokens: 4)
    )
    private static func hello(
        _ load: LoadRequest? = nil,
        _ model: LoadedModel? = nil,
        linger: EngineHello.Linger? = nil
    ) -> EngineHello {
        EngineHello(
            version: WireProtocol.version,
            build: "",
            pid: 5,
            load: load,
            model: model,
            linger: linger
        )
    }

    private func submit(
        _ machine: inout SupervisorMachine,
        key: String = "k",
        weight: Int = 1,
        keepAlive: Int? = nil,
        model: LoadRequest = Stage.model,
        now: UInt64 = 1
    ) throws -> GenerationID {
        try machine.submit(
            Self.request,
            model: model,
            key: key,
            weight: weight,
            keepAlive: keepAlive,
            now: now
        )
    }

    @Test func `keys share the queue by their weights`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        for _ in 0..<40 { _ = try submit(&machine, key: "light") }
        for _ in 0..<40 { _ = try submit(&machine, key: "heavy", weight: 3) }
        let keys = machine.status(now: 1).requests.map(\.key)
        #expect(keys.prefix(40).count { $0 == "heavy" } == 30)
        #expect(keys.prefix(8).count { $0 == "light" } == 2, "no key waits for a burst of others")
        #expect(keys.count == 80)
    }

    @Test func `a key that comes late neither waits for the past nor is paid for it`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        for _ in 0..<20 { _ = try submit(&machine, key: "old") }
        machine.hello(Self.hello(), now: 1)
        var model = Samples.model
        model.slots = 10
        try machine.message(.loaded(model), now: 1)
        for _ in 0..<10 { _ = try submit(&machine, key: "new") }
        let waiting = machine.status(now: 1).requests.filter { $0.phase == .queued }
        #expect(waiting.prefix(6).count { $0.key == "new" } == 3)
    }

    @Test func `the place in the queue that a client hears is the one it has`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        _ = try submit(&machine, model: Stage.otherModel)
        for round in 0..<12 {
            for (key, weight) in [("a", 1), ("b", 5), ("c", 2)] where round % weight == 0 {
                _ = machine.takeActions()
                let id = try submit(&machine, key: key, weight: weight)
                let heard = machine.takeActions().compactMap { action -> Int? in
                    if case .deliver(id, .queued(let position)) = action { position } else { nil }
                }
                let rows = machine.status(now: 1).requests.filter { $0.modelID == "a" }
                let place = try #require(rows.firstIndex { $0.id == id }) + 1
                #expect(try abs(#require(heard.first) - place) <= 1)
            }
        }
    }

    @Test func `started names the model that answers, and is heard again after the engine died`()
        throws
    {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        let id = try submit(&machine)
        var heard: [GenerationEvent] = []
        for _ in 0..<2 {
            machine.hello(Self.hello(), now: 1)
            try machine.message(.loaded(Samples.model), now: 1)
            machine.gone(now: 1)
            for case .deliver(id, let event) in machine.takeActions() { heard.append(event) }
        }
        #expect(heard.count { $0 == .started(Samples.model) } == 2)
        #expect(heard.count { $0 == .restarted } == 2)
    }

    @Test func `an adopted engine stays as long as the earlier front promised`() throws {
        let second: UInt64 = 1_000_000_000
        var load = Stage.model
        load.idleTimeout = 40
        for (linger, expected) in [
            (nil, 40), (.seconds(7), 7), (.forever, nil),
        ] as [(EngineHello.Linger?, Int?)] {
            var machine = SupervisorMachine(settings: SupervisorSettings())
            machine.adopt(now: second)
            machine.hello(Self.hello(load, Samples.model, linger: linger), now: second)
            #expect(machine.status(now: second).remainingIdleSeconds == expected)
        }
    }

    @Test func `a loaded model stays for its residency, but no longer than others have patience`()
        throws
    {
        let second: UInt64 = 1_000_000_000
        for (residency, due) in [(2.0, 12), (30, 20), (0, 10)] as [(Double, UInt64)] {
            var settings = SupervisorSettings()
            settings.minResidency = residency
            settings.swapPatience = 10
            var machine = SupervisorMachine(settings: settings)
            machine.preload(Stage.model, now: second)
            machine.hello(Self.hello(), now: second)
            try machine.message(.loaded(Samples.model), now: 10 * second)
            _ = try submit(&machine, model: Stage.otherModel, now: 10 * second)
            var ended: UInt64?
            for now in stride(from: 10 * second, to: 40 * second, by: Int(second / 2)) {
                machine.tick(now: now)
                let deadline = machine.nextDeadline(now: now)
                let ends = machine.takeActions().contains(.send(.unload))
                if ends {
                    ended = now
                    break
                }
                #expect(deadline == due * second)
            }
            #expect(ended == due * second)
        }
    }

    @Test func `loading is logged once a second and at its end`() throws {
        let second: UInt64 = 1_000_000_000
        var machine = SupervisorMachine(settings: SupervisorSettings())
        _ = try submit(&machine, now: second)
        machine.hello(Self.hello(), now: second)
        for step in 1...40 as ClosedRange<Int> {
            let now = second * 2 + UInt64(step) * second / 10
            try machine.message(.progress(done: step, total: 40), now: now)
        }
        try machine.message(.loaded(Samples.model), now: 7 * second)
        let lines = machine.takeActions().compactMap { action -> String? in
            if case .log(let line) = action { line } else { nil }
        }
        #expect(lines.count == 5)
        #expect(lines.first == "loading a: 2%")
        #expect(lines.last?.hasSuffix("on cpu in 6.0 s") ?? false)
    }

    @Test func `the engine hears of a changed keep_alive once`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        _ = try submit(&machine, keepAlive: 9)
        machine.hello(Self.hello(), now: 1)
        try machine.message(.loaded(Samples.model), now: 1)
        _ = try submit(&machine, keepAlive: 9)
        _ = try submit(&machine, keepAlive: -1)
        let told = machine.takeActions().filter {
            if case .send(.linger) = $0 { true } else { false }
        }
        #expect(told == [.send(.linger(9)), .send(.linger(nil))])
    }

    @Test func `keep_alive survives the front`() throws {
        let stage = Stage()
        #expect(try stage.submit([1], keepAlive: 77).ended())
        stage.supervisor.stop(drainSeconds: 0, unload: false)
        let next = Stage(socketPath: stage.socketPath)
        defer { next.end() }
        #expect(
            next.wait { $0.state == .serving && (70...77).contains($0.remainingIdleSeconds ?? 0) }
        )
    }

    @Test func `idle_timeout travels with the load and makes no other engine`() throws {
        var load = Stage.model
        load.idleTimeout = 12
        #expect(load.isSameEngine(as: Stage.model))
        guard case .load(let read) = try FrontMessage(FrontMessage.load(load).frame) else {
            Issue.record("another message")
            return
        }
        #expect(read == load)
    }

    @Test func `the summary counts what the status lists`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        for key in ["a", "b", "c", "d", "e"] { _ = try submit(&machine, key: key) }
        machine.hello(Self.hello(), now: 1)
        var model = Samples.model
        model.slots = 2
        try machine.message(.loaded(model), now: 1)
        var status = machine.status(now: 1)
        #expect(status.running == 2 && status.waiting == 3 && status.requests.count == 5)
        status.requests = []
        #expect(machine.summary(now: 1) == status)
    }

    @Test func `failures say when to come back`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        #expect(machine.summary(now: 1).retrySeconds == 5, "nothing was measured yet")
        let id = try submit(&machine)
        machine.hello(Self.hello(), now: 1)
        try machine.message(.loadFailed(LoadFailure(cause: .corrupt, detail: "")), now: 1)
        let failures = machine.takeActions().compactMap { action -> GenerationFailure? in
            if case .deliver(id, .failed(let failure)) = action { failure } else { nil }
        }
        #expect(failures.map(\.retryAfterSeconds) == [2])
        machine.gone(now: 1)
        #expect(machine.summary(now: 1).retrySeconds == 2)
        #expect(machine.summary(now: 1_500_000_000).retrySeconds == 1)
    }

    @Test func `a thread that is held up is not alive, one at rest or stopped is`() throws {
        let stage = Stage()
        defer { stage.end() }
        usleep(1_300_000)
        #expect(stage.supervisor.isAlive(within: 1.2), "at rest it still goes round")
        let isHeld = Atomic(true)
        let audience = Audience()
        _ = try stage.supervisor.submit(Self.request, model: Stage.model, key: "k") { event in
            while isHeld.load(ordering: .relaxed) { usleep(1000) }
            audience.hear(event)
        }
        #expect(eventually { !stage.supervisor.isAlive(within: 0.2) })
        isHeld.store(false, ordering: .relaxed)
        #expect(audience.ended() && stage.supervisor.isAlive(within: 1.2))
        stage.supervisor.stop(drainSeconds: 0, unload: true)
        #expect(stage.supervisor.isAlive(within: 0))
    }
}
