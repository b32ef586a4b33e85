extension SupervisorMachine {
    /// The engine and the queue as they are now, with a row for each generation.
    package func status(now: UInt64) -> EngineStatus {
        var status = summary(now: now)
        status.requests.reserveCapacity(generations.count)
        describe(into: &status)
        return status
    }

    /// The same without the rows.
    package func summary(now: UInt64) -> EngineStatus {
        var status = counters
        status.model = engine.model
        status.modelID = engine.model?.modelID ?? engine.load?.modelID
        status.pid = engine.pid
        status.steps = engine.steps
        status.residentBytes =
            engine.resident ?? engine.stats?.residentBytes ?? engine.model?.residentBytes
        status.allocatedBytes = engine.stats?.allocatedBytes ?? 0
        status.reservedBytes = engine.stats?.reservedBytes ?? 0
        status.kvTotal = kvTotal
        status.kvUsed =
            engine.stats.map { parts.isEmpty ? $0.usedTokens : usedTokens } ?? usedTokens
        status.freeSlots = max(0, slotsTotal - usedSlots)
        status.queueWaitEstimate = queueWait
        switch phase {
        case .absent: status.state = .absent
        case .coolDown(let until):
            status.state = .coolDown
            status.retryAfterSeconds = until > now ? Self.ceilSeconds(until - now) : 0
            let failure = failures.values.max { $0.until < $1.until }
            status.cause = failure?.cause
            status.modelID = failure?.modelID
        case .loading(let loading):
            status.state = loading.target == nil ? .absent : .loading
            status.progress = loading.fraction
            status.modelID = loading.target?.modelID
        case .serving:
            status.state = .serving
            status.progress = 1
            if parts.isEmpty, let since = engine.idleSince, let linger = engine.linger {
                let end = since &+ Self.nanoseconds(Double(linger))
                status.remainingIdleSeconds = end > now ? Self.ceilSeconds(end - now) : 0
            }
        case .draining:
            status.state = .draining
            status.progress = 1
        }
        status.running = Set(parts.values.map(\.generation)).count
        status.waiting = generations.count - status.running
        status.retrySeconds = retrySeconds(now: now)
        return status
    }

    private func describe(into status: inout EngineStatus) {
        for id in generations.keys.sorted() {
            guard let generation = generations[id], !generation.isQueued || generation.isRunning
            else { continue }
            status.requests.append(row(generation, generation.hasMoved ? .decode : .prefill, nil))
        }
        var position = 0
        var current = engine.load.map { ModelKey($0) }
        var loadingKey: ModelKey?
        if case .loading(let loading) = phase {
            loadingKey = loading.target.map { ModelKey($0) }
            current = loadingKey
        }
        let keys = queues.keys.sorted { a, b in
            a == current || b != current && (queues[a]?.oldest ?? 0) < (queues[b]?.oldest ?? 0)
        }
        for key in keys {
            let isLoading = loadingKey == key
            for id in queues[key]?.order ?? [] {
                guard let generation = generations[id], !generation.isRunning else { continue }
                position += 1
                status.requests.append(row(generation, isLoading ? .loading : .queued, position))
            }
        }
    }

    private func row(_ generation: Generation, _ phase: RequestStatus.Phase, _ position: Int?)
        -> RequestStatus
    {
        RequestStatus(
            id: generation.id,
            key: generation.key,
            modelID: generation.model.modelID,
            phase: phase,
            queuePosition: position,
            tokens: generation.tokens
        )
    }
}
