import EngineLink
import Testing

/// The state machine alone, against a simulated engine, by seed.
@Suite struct MachineTests {
    /// An engine that exists only as the frames it would send; checks what the front must keep.
    private struct Simulation {
        var machine: SupervisorMachine
        var random: Xorshift
        var now: UInt64 = 1
        let slots: Int

        // The process.
        var isAlive = false
        var loading: LoadRequest?
        var loaded: LoadRequest?
        var running: [GenerationID: GenerationRequest] = [:]

        // What clients heard.
        var tokens: [GenerationID: [Int: [Int32]]] = [:]
        var endings: [GenerationID: Int] = [:]
        var limits: [GenerationID: Int] = [:]
        var cancelled: Set<GenerationID> = []

        static let models = [Stage.model, Stage.otherModel]

        init(seed: UInt64) {
            random = Xorshift(seed: seed)
            var settings = SupervisorSettings()
            settings.maxWaiting = 12
            settings.idleTimeout = 3
            settings.swapPatience = 1
            settings.hangTimeout = 1_000_000
            settings.loadStallTimeout = 1_000_000
            settings.launchTimeout = 1_000_000
            machine = SupervisorMachine(settings: settings)
            slots = 1 + random.below(5)
        }

        func isRunning(_ wire: GenerationID, _ choice: Int) -> Bool {
            running[wire]?.choices.contains { $0.index == choice } ?? false
        }

        mutating func perform() throws {
            var queue = machine.takeActions()[...]
            while let action = queue.popFirst() {
                switch action {
                case .adopt, .launch:
                    #expect(!isAlive, "one engine at a time")
                    (isAlive, loading, loaded, running) = (true, nil, nil, [:])
                    machine.hello(
                        EngineHello(
                            version: WireProtocol.version,
                            build: "",
                            pid: 5,
                            load: nil,
                            model: nil
                        ),
                        now: now
                    )
                case .send(.load(let request)): loading = request
                case .send(.submit(let wire, let request)):
                    #expect(loaded != nil && running[wire] == nil)
                    running[wire] = request
                    let used = running.values.reduce(0) { $0 + $1.choices.count }
                    #expect(used <= slots, "more choices than slots")
                    for choice in request.choices {
                        #expect(choice.generated.count < request.stop.maxTokens)
                    }
                case .send(.cancel(let wire, let choice)): stop(wire, choice)
                case .send(.unload), .kill:
                    die()
                    machine.gone(now: now)
                case .send: break
                case .deliver(let id, .tokens(let events)):
                    #expect(endings[id] == nil && !cancelled.contains(id))
                    for event in events {
                        let next = Int32(tokens[id]?[event.choice]?.count ?? 0)
                        #expect(event.token == next, "a token lost, repeated or out of order")
                        tokens[id, default: [:]][event.choice, default: []].append(event.token)
                    }
                case .deliver(let id, .finished), .deliver(let id, .failed):
                    endings[id, default: 0] += 1
                case .forget(let id): endings[id, default: 0] += 1
                case .deliver, .ended, .unloadEnded, .log: break
                }
                queue += machine.takeActions()
            }
        }

        mutating func stop(_ wire: GenerationID, _ choice: Int?) {
            running[wire]?.choices.removeAll { choice == nil || $0.index == choice }
            if running[wire]?.choices.isEmpty ?? false { running[wire] = nil }
        }

        mutating func die() { (isAlive, loading, loaded, running) = (false, nil, nil, [:]) }

        /// Each token is its position, so that order can be checked.
        mutating func step() throws {
            var step = EngineStep(number: 1, monotonicNs: now, tokens: [])
            for (wire, request) in running.sorted(by: { $0.key < $1.key }) {
                for (place, choice) in request.choices.enumerated().reversed()
                where random.below(3) > 0 {
                    let position = choice.generated.count
                    let isLast = position + 1 >= request.stop.maxTokens
                    step.tokens.append(
                        GenerationToken(
                            id: wire,
                            event: TokenEvent(
                                choice: choice.index,
                                token: Int32(position),
                                finish: isLast ? .length : nil
                            )
                        )
                    )
                    running[wire]?.choices[place].generated.append(0)
                    if isLast { running[wire]?.choices.remove(at: place) }
                }
                if running[wire]?.choices.isEmpty ?? false { running[wire] = nil }
            }
            try machine.message(.step(step), now: now)
        }

        mutating func submit() throws {
            let count = 1 + random.below(4)
            let request = GenerationRequest(
                prompt: [1, 2],
                choices: (0..<count).map { ChoiceStart(index: $0) },
                stop: StopConditions(maxTokens: 1 + random.below(6))
            )
            do throws(SupervisorError) {
                let id = try machine.submit(
                    request,
                    model: Self.models[random.below(8) == 0 ? 1 : 0],
                    key: "k\(random.below(3))",
                    keepAlive: random.below(9) == 0 ? 0 : nil,
                    now: now
                )
                limits[id] = request.stop.maxTokens
            } catch {
                switch error {
                case .queueFull, .coolDown: break
                default: Issue.record("refused: \(error)")
                }
            }
        }

        mutating func event() throws {
            now += UInt64(random.below(400)) * 1_000_000
            switch random.below(20) {
            case 0..<4: try submit()
            case 4:
                let id = GenerationID(1 + random.below(max(1, limits.count)))
                if random.below(2) == 0 {
                    if endings[id] == nil, limits[id] != nil { cancelled.insert(id) }
                    machine.cancel(id, choice: nil, now: now)
                } else {
                    machine.cancel(id, choice: random.below(4), now: now)
                }
            case 5:
                if isAlive, random.below(3) == 0 {
                    die()
                    machine.gone(now: now)
                }
            case 6:
                let isForced = random.below(4) == 0
                machine.unload(ticket: 1, timeout: 0.5, force: isForced, now: now)
            case 7 where running.count > 0:
                let wire = running.keys.sorted()[random.below(running.count)]
                running[wire] = nil
                try machine.message(.failed(wire, .engineFailed), now: now)
            case 8..<11: try finishLoading(mayFail: true)
            default: if !running.isEmpty { try step() }
            }
            try perform()
            machine.tick(now: now)
            try perform()
        }

        mutating func finishLoading(mayFail: Bool) throws {
            guard isAlive, let request = loading else { return }
            loading = nil
            if mayFail, random.below(10) == 0 {
                try machine.message(
                    .loadFailed(LoadFailure(cause: .corrupt, detail: "")),
                    now: now
                )
                return
            }
            loaded = request
            var model = Samples.model
            model.slots = slots
            try machine.message(.loaded(model), now: now)
        }

        /// No more trouble: everything must come to an end.
        mutating func calmDown() throws {
            for _ in 0..<3000 where !machine.isEmpty {
                now += 100_000_000
                try finishLoading(mayFail: false)
                try perform()
                if !running.isEmpty { try step() }
                try perform()
                machine.tick(now: now)
                try perform()
            }
        }
    }

    @Test func `whatever happens, every generation ends once and no token is lost or repeated`()
        throws
    {
        for seed in 1...200 as ClosedRange<UInt64> {
            var simulation = Simulation(seed: seed)
            for _ in 0..<300 { try simulation.event() }
            try simulation.calmDown()
            guard simulation.machine.isEmpty else {
                Issue.record(
                    "stuck, seed \(seed): \(simulation.machine.status(now: simulation.now))"
                )
                return
            }
            for id in simulation.limits.keys {
                #expect(simulation.endings[id] == 1, "seed \(seed), \(id)")
            }
            let status = simulation.machine.status(now: simulation.now)
            #expect(status.waiting == 0 && status.running == 0 && status.requests.isEmpty)
            if status.state == .serving { #expect(status.freeSlots == simulation.slots) }
        }
    }

    @Test func `keys take turns in the queue`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        var ids: [String: [GenerationID]] = [:]
        for key in ["a", "a", "a", "a", "b", "c", "b"] {
            let id = try machine.submit(
                GenerationRequest(prompt: [1], stop: StopConditions(maxTokens: 1)),
                model: Stage.model,
                key: key,
                keepAlive: nil,
                now: 1
            )
            ids[key, default: []].append(id)
        }
        let order = machine.status(now: 1).requests.map(\.id)
        let (a, b, c) = (ids["a"] ?? [], ids["b"] ?? [], ids["c"] ?? [])
        #expect(order == [a[0], b[0], c[0], a[1], b[1], a[2], a[3]])
    }

    @Test func `the cool-down grows and a success forgets it`() throws {
        var machine = SupervisorMachine(settings: SupervisorSettings())
        let request = GenerationRequest(prompt: [1], stop: StopConditions(maxTokens: 1))
        var now: UInt64 = 1
        let hello = EngineHello(
            version: WireProtocol.version,
            build: "",
            pid: 5,
            load: nil,
            model: nil
        )
        for expected in [2, 4, 8] {
            _ = try machine.submit(request, model: Stage.model, key: "", keepAlive: nil, now: now)
            machine.hello(hello, now: now)
            try machine.message(.loadFailed(LoadFailure(cause: .corrupt, detail: "")), now: now)
            machine.gone(now: now)
            #expect(machine.status(now: now).retryAfterSeconds == expected)
            #expect(
                throws: SupervisorError.coolDown(
                    retryAfterSeconds: expected,
                    sentence: LoadFailureCause.corrupt.sentence
                )
            ) {
                try machine.submit(request, model: Stage.model, key: "", keepAlive: nil, now: now)
            }
            now += UInt64(expected) * 1_000_000_000
            machine.tick(now: now)
            #expect(machine.status(now: now).state == .absent)
        }
    }
}
