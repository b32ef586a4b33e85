// What clients and operators ask for.

extension SupervisorMachine {
    /// Takes a generation: starts it, or queues it and sees to it that its model gets loaded.
    /// - Throws: `SupervisorError`; nothing has changed then.
    package mutating func submit(
        _ request: GenerationRequest,
        model: LoadRequest,
        key: String,
        weight: Int = 1,
        keepAlive: Int?,
        now: UInt64
    ) throws(SupervisorError) -> GenerationID {
        guard !isStopping else { throw .draining }
        let modelKey = ModelKey(model)
        if let failure = failures[modelKey], failure.until > now {
            throw .coolDown(
                retryAfterSeconds: Self.ceilSeconds(failure.until - now),
                sentence: failure.sentence
            )
        }
        lastID += 1
        let id = lastID
        generations[id] = Generation(
            id: id,
            request: request,
            model: model,
            key: key,
            keepAlive: keepAlive,
            arrival: now
        )
        queues[modelKey, default: WaitingQueue()].append(id, key: key, weight: weight)
        waitingCount += 1
        pump(now: now)
        guard let generation = generations[id], generation.isQueued else { return id }
        if waitingCount > settings.maxWaiting {
            dequeue(generation)
            generations[id] = nil
            throw .queueFull(retryAfterSeconds: retrySeconds(now: now))
        }
        settle(now: now)
        // An idle engine with another model gives way at once.
        if case .serving = phase { afterWork(now: now) }
        if case .loading(var loading) = phase, loading.target == nil {
            loading.target = model
            phase = .loading(loading)
        }
        if case .loading(let loading) = phase, let target = loading.target,
            target.isSameEngine(as: model)
        {
            deliver(id, .loading(fraction: loading.fraction))
        } else {
            let position = queues[modelKey]?.position(ofNewestOf: key) ?? 1
            deliver(id, .queued(position: position))
        }
        return id
    }

    /// Ends a generation, or one of its choices, wherever it is; unknown ids are normal.
    package mutating func cancel(_ id: GenerationID, choice: Int?, now: UInt64) {
        guard let generation = generations[id] else { return }
        for place in generation.states.indices
        where choice == nil || generation.request.choices[place].index == choice {
            if case .running(let wire) = generation.states[place] {
                actions.append(
                    .send(.cancel(wire, choice: generation.request.choices[place].index))
                )
            }
            endChoice(place, of: id)
        }
        guard let left = generations[id], left.isOver else { return }
        remove(id)
        actions.append(choice == nil ? .forget(id) : .deliver(id, .finished))
        afterWork(now: now)
    }

    /// Loads a model before anyone asks for it.
    package mutating func preload(_ model: LoadRequest, now: UInt64) {
        preload = model
        failures[ModelKey(model)] = nil
        afterWork(now: now)
        settle(now: now)
    }

    /// Starts an unload; `unloadEnded` brings the outcome.
    package mutating func unload(ticket: UInt64, timeout: Double, force: Bool, now: UInt64) {
        preload = nil
        switch phase {
        case .absent, .coolDown:
            failures = [:]
            phase = .absent
            actions.append(.unloadEnded(ticket: ticket, .nothingLoaded))
        case .loading(let loading):
            let waiters = loading.target.flatMap { queues[ModelKey($0)]?.count } ?? 0
            if force, let target = loading.target { failWaiting(for: target, .unloaded) }
            guard force || waiters == 0 else {
                actions.append(.unloadEnded(ticket: ticket, .busy(running: waiters)))
                return
            }
            unloadTickets.append(ticket)
            if case .pausing = loading.stage {
                phase = .absent
                endUnloads(nil)
                settle(now: now)
            } else {
                end(now: now, kill: true, .manual)
            }
        case .serving, .draining:
            unloadTickets.append(ticket)
            if force { failAll(of: engine.load, .unloaded) }
            if case .draining(let draining) = phase, draining.isEnding { return }
            if parts.isEmpty {
                end(now: now, kill: false, .manual)
            } else {
                phase = .draining(
                    Draining(isEnding: false, deadline: now &+ Self.nanoseconds(timeout))
                )
            }
        }
    }

    /// Passes a wish for memory on to an engine with a model; nil where there is none.
    ///
    /// The number is that of the report which comes afterwards.
    package mutating func trim() -> UInt64? {
        guard case .serving = phase else { return nil }
        actions.append(.send(.trim))
        askReport()
        return reportsAsked
    }

    /// From now on nothing new is taken.
    package mutating func stop() { isStopping = true }

    /// Ends everything that is left, at the end of the server's drain.
    package mutating func failEverything(now: UInt64) {
        for id in generations.keys.sorted() { fail(id, .stopping) }
        afterWork(now: now)
    }

    /// Seconds that a request would wait now.
    var queueWait: Double {
        let slots = Double(max(1, slotsTotal))
        var wait = Double(waitingCount) * averageSeconds / slots
        if case .loading(let loading) = phase {
            wait += (counters.loadSeconds ?? 5) * (1 - loading.fraction)
        }
        return min(wait, 3600)
    }

    /// Seconds after which a request that cannot be served now may come again, 1…60 but for a
    /// cool-down.
    func retrySeconds(now: UInt64) -> Int {
        if case .coolDown(let until) = phase {
            return max(1, Self.ceilSeconds(Self.elapsed(now, until)))
        }
        var wait = queueWait
        // Without an engine the next request waits for a whole load.
        if case .absent = phase { wait += counters.loadSeconds ?? 5 }
        return max(1, Int(min(60, wait.rounded(.up))))
    }

    static func ceilSeconds(_ nanoseconds: UInt64) -> Int {
        Int(min((nanoseconds + 999_999_999) / 1_000_000_000, 1_000_000))
    }
}
