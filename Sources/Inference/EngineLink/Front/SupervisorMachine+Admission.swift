// Who goes to the engine, and what happens when its work ends.

extension SupervisorMachine {
    var slotsTotal: Int {
        guard let model = engine.model else { return 0 }
        return min(model.slots, engine.stats?.slots ?? model.slots)
    }

    var kvTotal: Int { engine.stats?.kvTokens ?? engine.model?.kvTokens ?? 0 }

    /// Submits what fits, in the queue's order.
    mutating func pump(now: UInt64) {
        guard case .serving = phase, !engine.isKilled, let load = engine.load,
            let model = engine.model
        else { return }
        let key = ModelKey(load)
        while let id = queues[key]?.next, let generation = generations[id] {
            guard !isHeldBack(generation, key: key, now: now) else { break }
            let places = generation.waitingChoices.prefix(max(1, slotsTotal))
            guard fits(generation, Array(places)) else { break }
            submit(id, Array(places), to: model, now: now)
        }
    }

    private func fits(_ generation: Generation, _ places: [Int]) -> Bool {
        guard usedSlots + places.count <= slotsTotal else { return false }
        guard !parts.isEmpty else { return true }
        if generation.runsAlone { return false }
        if parts.count == 1, let part = parts.values.first,
            generations[part.generation]?.runsAlone ?? false
        {
            return false
        }
        let cost = places.reduce(0) { $0 + generation.length(ofChoice: $1) + 16 }
        return usedTokens + cost <= kvTotal
    }

    /// Whether a request for another model has waited so long that newer ones must not pass it.
    ///
    /// The queue's oldest counts, not the one whose turn it is: otherwise two models could each wait
    /// for the other.
    private func isHeldBack(_ generation: Generation, key: ModelKey, now: UInt64) -> Bool {
        // A generation that has begun is never cut off.
        guard !generation.hasStarted, let other = oldestWaiting(except: key) else { return false }
        return other.id < queues[key]?.oldest ?? generation.id
            && Self.elapsed(other.arrival, now) >= Self.nanoseconds(settings.swapPatience)
    }

    func oldestWaiting(except key: ModelKey?) -> Generation? {
        guard queues.count > (key == nil ? 0 : 1) || key.map({ queues[$0] == nil }) ?? false else {
            return nil
        }
        let heads = queues.compactMap { $0.key == key ? nil : $0.value.oldest }
        return heads.min().flatMap { generations[$0] }
    }

    private mutating func submit(
        _ id: GenerationID,
        _ places: [Int],
        to model: LoadedModel,
        now: UInt64
    ) {
        guard var generation = generations[id] else { return }
        lastWire += 1
        var request = generation.request
        request.choices = places.map { generation.request.choices[$0] }
        do { try request.checkRanges() } catch {
            // What an engine made of it no longer fits the wire.
            log("generation \(id) cannot go on: \(error.reason)")
            fail(id, .engineFailed)
            return
        }
        let wasRunning = generation.isRunning
        for place in places {
            generation.states[place] = .running(wire: lastWire)
            usedTokens += generation.length(ofChoice: place)
        }
        usedSlots += places.count
        parts[lastWire] = Part(generation: id, open: places.count)
        actions.append(.send(.submit(lastWire, request)))
        if parts.count == 1 {
            // Work begins: the hang timer starts here.
            engine.lastMove = now
            engine.idleSince = nil
        }
        keep(linger(keepAlive: generation.keepAlive, model: generation.model))
        if generation.waitingChoices.isEmpty {
            dequeue(generation)
            generation.isQueued = false
        }
        generation.hasMoved = false
        generation.startedAt = now
        generation.revision = model.revision
        generation.hasStarted = true
        // After a crash it has waited and heard `loading` again.
        if !wasRunning { deliver(id, .started(model)) }
        generations[id] = generation
    }

    func linger(keepAlive: Int?, model: LoadRequest) -> Int? {
        if let keepAlive { return keepAlive < 0 ? nil : keepAlive }
        let timeout = model.idleTimeout ?? settings.idleTimeout
        return timeout <= 0 ? nil : timeout
    }

    /// Sets how long the idle engine stays, and tells it, so that the next front knows.
    mutating func keep(_ linger: Int?) {
        engine.linger = linger
        let told = EngineHello.Linger(linger)
        guard engine.toldLinger != told else { return }
        engine.toldLinger = told
        actions.append(.send(.linger(linger)))
    }

    mutating func dequeue(_ generation: Generation) {
        let key = ModelKey(generation.model)
        if queues[key]?.next == generation.id {
            queues[key]?.removeNext()
        } else {
            queues[key]?.remove(generation.id, key: generation.key)
        }
        if queues[key]?.isEmpty ?? false { queues[key] = nil }
        waitingCount -= 1
    }

    /// Marks a choice as ended and frees what it held in the engine.
    mutating func endChoice(_ place: Int, of id: GenerationID) {
        guard let state = generations[id]?.states[place], state != .ended else { return }
        if case .running(let wire) = state {
            usedSlots -= 1
            usedTokens -= generations[id]?.length(ofChoice: place) ?? 0
            parts[wire]?.open -= 1
            if parts[wire]?.open == 0 { parts[wire] = nil }
        }
        generations[id]?.states[place] = .ended
        if let generation = generations[id], generation.isQueued, generation.waitingChoices.isEmpty
        {
            dequeue(generation)
            generations[id]?.isQueued = false
        }
    }

    /// Takes a generation off the books; the caller says why.
    mutating func remove(_ id: GenerationID) {
        guard let generation = generations[id] else { return }
        for place in generation.states.indices { endChoice(place, of: id) }
        generations[id] = nil
    }

    mutating func fail(_ id: GenerationID, _ failure: GenerationFailure) {
        guard let generation = generations[id] else { return }
        for place in generation.states.indices {
            if case .running(let wire) = generation.states[place] {
                actions.append(
                    .send(.cancel(wire, choice: generation.request.choices[place].index))
                )
            }
        }
        remove(id)
        deliver(id, .failed(failure))
    }

    mutating func failWaiting(for model: LoadRequest, _ failure: GenerationFailure) {
        for id in queues[ModelKey(model)]?.order ?? [] { fail(id, failure) }
    }

    mutating func failAll(of model: LoadRequest?, _ failure: GenerationFailure) {
        for part in parts.sorted(by: { $0.key < $1.key }) { fail(part.value.generation, failure) }
        if let model { failWaiting(for: model, failure) }
    }

    /// After something ended: the next ones start, another model gets its turn, idleness begins.
    mutating func afterWork(now: UInt64) {
        pump(now: now)
        switch phase {
        case .draining(let draining) where !draining.isEnding:
            if parts.isEmpty { end(now: now, kill: false, draining.cause) }
        case .serving where parts.isEmpty && !engine.isKilled:
            let key = engine.load.map { ModelKey($0) }
            if let due = swapDue, due <= now {
                end(now: now, kill: false, .swap)
            } else if engine.linger == 0, key.flatMap({ queues[$0] }) == nil {
                end(now: now, kill: false, .idle)
            } else if engine.idleSince == nil {
                engine.idleSince = now
                askReport()
            }
        default: break
        }
    }

    /// When the idle engine makes room for another model; nil: none is wanted.
    var swapDue: UInt64? {
        let other = oldestWaiting(except: engine.load.map { ModelKey($0) })
        guard other != nil || wantsOtherPreload else { return nil }
        guard let loaded = engine.loadedAt else { return 0 }
        let settled = loaded &+ Self.nanoseconds(settings.minResidency)
        guard let other else { return settled }
        return min(settled, other.arrival &+ Self.nanoseconds(settings.swapPatience))
    }

    private var wantsOtherPreload: Bool {
        guard let preload, let load = engine.load else { return false }
        return !preload.isSameEngine(as: load)
    }
}
