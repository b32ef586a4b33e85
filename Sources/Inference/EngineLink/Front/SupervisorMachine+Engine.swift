// What the engine and its process do.

extension SupervisorMachine {
    /// Looks for an engine that an earlier front left behind.
    package mutating func adopt(now: UInt64) {
        guard case .absent = phase else { return }
        phase = .loading(
            Loading(target: nil, isAdopting: true, stage: .connecting, since: now)
        )
        actions.append(.adopt)
    }

    /// With no engine: loads what is waited for, or rests.
    mutating func settle(now: UInt64) {
        switch phase {
        case .absent, .coolDown: break
        case .loading, .serving, .draining: return
        }
        engine = Engine()
        reportsDone = reportsAsked
        if let target = nextTarget {
            start(target, now: now)
            return
        }
        let until = failures.values.map(\.until).max() ?? 0
        phase = until > now ? .coolDown(until: until) : .absent
    }

    /// Which model comes next: that of generations which lost their engine, then the oldest's.
    var nextTarget: LoadRequest? {
        let begun = queues.values.compactMap(\.urgentHead).min().flatMap { generations[$0] }
        return begun?.model ?? oldestWaiting(except: nil)?.model ?? preload
    }

    private mutating func start(_ target: LoadRequest, now: UInt64) {
        let troubles = max(loadDeaths, barrenCrashes - 1)
        var loading = Loading(target: target, stage: .connecting, since: now)
        if troubles > 0 {
            let pause = min(30, 0.1 * Double(1 << min(troubles, 16)))
            loading.stage = .pausing(until: now &+ Self.nanoseconds(pause))
        } else {
            actions.append(.launch)
        }
        phase = .loading(loading)
    }

    /// Ends the engine, politely or not; nothing runs any more.
    mutating func end(now: UInt64, kill: Bool, _ cause: EngineEnd.Cause?) {
        if kill { self.kill() } else { actions.append(.send(.unload)) }
        let deadline = now &+ Self.nanoseconds(settings.exitGrace)
        phase = .draining(Draining(isEnding: true, deadline: deadline, cause: cause))
    }

    mutating func kill() {
        guard !engine.isKilled else { return }
        engine.isKilled = true
        actions.append(.kill)
    }

    /// The engine's first frame.
    package mutating func hello(_ hello: EngineHello, now: UInt64) {
        engine.pid = hello.pid
        engine.lastMove = now
        guard case .loading(var loading) = phase, loading.stage == .connecting, !engine.isKilled
        else { return }
        guard hello.version == WireProtocol.version else {
            log("engine speaks protocol \(hello.version), not \(WireProtocol.version)")
            kill()
            return
        }
        actions.append(.send(.hello(version: WireProtocol.version, build: settings.build)))
        loading.stage = .reading
        loading.isAdopting = false
        guard let load = hello.load else {
            guard let target = loading.target ?? nextTarget else {
                // An empty orphan that nobody needs.
                end(now: now, kill: false, .idle)
                return
            }
            engine.load = target
            loading.target = target
            phase = .loading(loading)
            actions.append(.send(.load(target)))
            return
        }
        engine.load = load
        engine.toldLinger = hello.linger
        guard loading.target?.isSameEngine(as: load) ?? true else {
            engine.model = hello.model
            end(now: now, kill: hello.model == nil, .swap)
            return
        }
        loading.target = load
        phase = .loading(loading)
        if let model = hello.model {
            log("found an engine with \(model.modelID) loaded")
            loaded(model, isNew: false, now: now)
        }
    }

    /// A message of the engine.
    /// - Throws: `ProtocolError` where it cannot be true; the connection must end.
    package mutating func message(_ message: EngineMessage, now: UInt64) throws(ProtocolError) {
        switch message {
        case .progress(let done, let total):
            guard case .loading(var loading) = phase, loading.stage == .reading else { return }
            engine.lastMove = now
            let fraction = total > 0 ? Double(done) / Double(total) : 0
            guard fraction >= loading.fraction + 0.01 || fraction == 1 else { return }
            loading.fraction = fraction
            if Self.elapsed(loading.loggedAt, now) >= Self.nanoseconds(1) {
                loading.loggedAt = now
                log("loading \(loading.target?.modelID ?? "-"): \(Int(fraction * 100))%")
            }
            phase = .loading(loading)
            guard let key = loading.target.map({ ModelKey($0) }) else { return }
            for id in queues[key]?.order ?? [] { deliver(id, .loading(fraction: fraction)) }
        case .loaded(let model):
            guard case .loading(let loading) = phase, loading.stage == .reading else { return }
            loaded(model, isNew: true, now: now)
        case .loadFailed(let failure):
            guard case .loading(let loading) = phase, let target = loading.target else { return }
            loadFailed(target, failure, now: now)
            end(now: now, kill: false, nil)
        case .step(let step): try take(step, now: now)
        case .failed(let wire, let failure):
            guard let id = parts[wire]?.generation else { return }
            // The engine has dropped this part; other parts of the generation are cancelled.
            fail(id, failure)
            afterWork(now: now)
        case .stats(let stats):
            engine.stats = stats
            if stats.residentBytes > 0 { engine.resident = stats.residentBytes }
            reportsDone = min(reportsDone + 1, reportsAsked)
            pump(now: now)
        }
    }

    /// Asks the engine for a report.
    mutating func askReport() {
        reportsAsked += 1
        actions.append(.send(.stats))
    }

    /// What the kernel tells of the engine's process.
    package mutating func measured(residentBytes: Int) { engine.resident = residentBytes }

    /// An answer to a ping.
    package mutating func pong(progress: UInt64, now: UInt64) {
        if progress != engine.progressCounter { engine.lastMove = now }
        engine.progressCounter = progress
    }

    private mutating func loaded(_ model: LoadedModel, isNew: Bool, now: UInt64) {
        var waited = 0.0
        if case .loading(let loading) = phase {
            waited = Double(Self.elapsed(loading.since, now)) / 1e9
        }
        engine.model = model
        // What was read before the weights were there.
        engine.resident = nil
        engine.lastMove = now
        phase = .serving
        loadDeaths = 0
        if isNew {
            // What a client waits for: the process's start counts too.
            engine.loadedAt = now
            counters.loads += 1
            let seconds = max(model.loadSeconds, waited)
            counters.loadSeconds = seconds
            let tenths = (seconds * 10).rounded() / 10
            log("loaded \(model.modelID) as \(model.numbers) on \(model.device) in \(tenths) s")
        }
        if let load = engine.load {
            failures[ModelKey(load)] = nil
            // An adopted engine stays as long as the earlier front promised.
            let kept = engine.toldLinger
            engine.linger = kept.map { $0.seconds } ?? linger(keepAlive: nil, model: load)
            if preload?.isSameEngine(as: load) ?? false { preload = nil }
            // Tokens of two checkpoints do not make one answer.
            for id in queues[ModelKey(load)]?.order ?? [] {
                guard let old = generations[id]?.revision, old != model.revision else { continue }
                fail(id, .modelChanged)
            }
        }
        afterWork(now: now)
    }

    private mutating func loadFailed(_ target: LoadRequest, _ failure: LoadFailure, now: UInt64) {
        counters.loadFailures += 1
        loadDeaths = 0
        log("load failed: \(failure.cause.rawValue): \(failure.detail)")
        let key = ModelKey(target)
        let count = (failures[key]?.count ?? 0) + 1
        let pause = min(settings.maxCoolDown, settings.coolDown * Double(1 << min(count - 1, 16)))
        failures[key] = Failure(
            count: count,
            until: now &+ Self.nanoseconds(pause),
            cause: failure.cause,
            sentence: failure.sentence,
            modelID: target.modelID
        )
        if preload?.isSameEngine(as: target) ?? false { preload = nil }
        var answer = GenerationFailure.loadFailed(failure)
        answer.retryAfterSeconds = max(1, Int(min(1e6, pause.rounded(.up))))
        failWaiting(for: target, answer)
    }

    private mutating func take(_ step: EngineStep, now: UInt64) throws(ProtocolError) {
        engine.lastMove = now
        engine.steps = step.number
        var touched: [GenerationID] = []
        for item in step.tokens {
            let token = item.event.token
            guard Int(token) < engine.model?.vocabularySize ?? Int.max else {
                throw ProtocolError("step: token outside the vocabulary")
            }
            // Unknown: cancelled a moment ago.
            guard let id = parts[item.id]?.generation,
                let place = generations[id]?.request.choices
                    .firstIndex(where: { $0.index == item.event.choice }),
                generations[id]?.states[place] == .running(wire: item.id)
            else { continue }
            if generations[id]?.batch.isEmpty ?? false { touched.append(id) }
            generations[id]?.batch.append(item.event)
            generations[id]?.request.choices[place].generated.append(token)
            generations[id]?.tokens += 1
            usedTokens += 1
            if item.event.finish != nil { endChoice(place, of: id) }
        }
        guard !touched.isEmpty else { return }
        barrenCrashes = 0
        var anyEnded = false
        for id in touched {
            let batch = generations[id]?.batch ?? []
            generations[id]?.batch = []
            generations[id]?.hasMoved = true
            generations[id]?.strikes = 0
            deliver(id, .tokens(batch))
            guard let generation = generations[id], generation.isOver else { continue }
            anyEnded = true
            let seconds = Double(Self.elapsed(generation.startedAt, now)) / 1e9
            averageSeconds += 0.1 * (min(seconds, 3600) - averageSeconds)
            generations[id] = nil
            deliver(id, .finished)
        }
        if anyEnded || usedSlots < slotsTotal { afterWork(now: now) }
    }

    /// No engine could be started.
    package mutating func launchFailed(_ failure: LoadFailure, now: UInt64) {
        guard case .loading(let loading) = phase, let target = loading.target else { return }
        loadFailed(target, failure, now: now)
        phase = .absent
        endUnloads(nil)
        settle(now: now)
    }

    /// The engine's process has ended, and the connection with it.
    package mutating func gone(now: UInt64) {
        switch phase {
        case .absent, .coolDown: return
        case .loading(let loading):
            if let target = loading.target, !loading.isAdopting {
                diedLoading(target, loading, now: now)
            }
        case .serving:
            tellEnd(.crash)
            crashed(now: now)
        case .draining(let draining):
            if !draining.isEnding {
                tellEnd(.crash)
                crashed(now: now)
            } else if let cause = draining.cause {
                tellEnd(cause)
                counters.unloads += 1
            }
        }
        phase = .absent
        endUnloads(engine.model)
        settle(now: now)
    }

    /// Comes before the answer to who asked for the end.
    private mutating func tellEnd(_ cause: EngineEnd.Cause) {
        guard let model = engine.model else { return }
        actions.append(
            .ended(
                EngineEnd(
                    model: model,
                    cause: cause,
                    residentBytes: engine.resident ?? engine.stats?.residentBytes
                        ?? model.residentBytes,
                    reservedBytes: engine.stats?.reservedBytes ?? 0
                )
            )
        )
    }

    mutating func endUnloads(_ model: LoadedModel?) {
        // Without a hello there was nothing to unload.
        let outcome = engine.pid == nil ? UnloadOutcome.nothingLoaded : .unloaded(model)
        for ticket in unloadTickets {
            actions.append(.unloadEnded(ticket: ticket, outcome))
        }
        unloadTickets = []
    }

    private mutating func diedLoading(_ target: LoadRequest, _ loading: Loading, now: UInt64) {
        counters.crashes += 1
        loadDeaths += 1
        log("engine ended while loading, \(loadDeaths) of \(settings.loadAttempts)")
        guard loadDeaths >= settings.loadAttempts else { return }
        let cause = loading.stage == .reading ? LoadFailureCause.crashed : .launch
        loadFailed(target, LoadFailure(cause: cause, detail: "the process ended"), now: now)
    }

    private mutating func crashed(now: UInt64) {
        counters.crashes += 1
        let lost = Set(parts.values.map(\.generation)).sorted()
        if !lost.isEmpty { barrenCrashes += 1 }
        log("engine died with \(lost.count) generations")
        parts = [:]
        usedSlots = 0
        usedTokens = 0
        var requeued: [ModelKey: [GenerationID]] = [:]
        var endings: [GenerationID] = []
        for id in lost {
            guard var generation = generations[id] else { continue }
            for place in generation.states.indices {
                if case .running = generation.states[place] { generation.states[place] = .waiting }
            }
            if !generation.hasMoved { generation.strikes += 1 }
            if !generation.isQueued {
                generation.isQueued = true
                waitingCount += 1
                requeued[ModelKey(generation.model), default: []].append(id)
            }
            generations[id] = generation
            if generation.strikes >= 3 { endings.append(id) } else { deliver(id, .restarted) }
        }
        for (key, ids) in requeued { queues[key, default: WaitingQueue()].prepend(ids) }
        var answer = GenerationFailure.engineFailed
        answer.retryAfterSeconds = retrySeconds(now: now)
        for id in endings { fail(id, answer) }
    }
}
