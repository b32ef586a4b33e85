// What happens by itself as time passes. The driver calls `tick` no later than `nextDeadline`.

extension SupervisorMachine {
    /// Whether the engine owes us progress.
    private var hasWork: Bool {
        switch phase {
        case .loading(let loading): loading.stage == .reading
        case .serving, .draining: !parts.isEmpty
        case .absent, .coolDown: false
        }
    }

    private var stallTimeout: UInt64 {
        if case .loading = phase { return Self.nanoseconds(settings.loadStallTimeout) }
        return Self.nanoseconds(settings.hangTimeout)
    }

    /// Does what is due.
    package mutating func tick(now: UInt64) {
        switch phase {
        case .coolDown(let until) where now >= until:
            phase = .absent
        case .loading(var loading):
            switch loading.stage {
            case .pausing(let until) where now >= until:
                resume(&loading, now: now)
            case .connecting
            where Self.elapsed(loading.since, now) >= Self.nanoseconds(settings.launchTimeout):
                if !engine.isKilled { log("engine does not answer") }
                kill()
            default: break
            }
        case .draining(let draining) where now >= draining.deadline:
            if draining.isEnding {
                kill()
            } else {
                let running = Set(parts.values.map(\.generation)).count
                for ticket in unloadTickets {
                    actions.append(.unloadEnded(ticket: ticket, .busy(running: running)))
                }
                unloadTickets = []
                phase = .serving
                afterWork(now: now)
            }
        case .serving where parts.isEmpty:
            if let due = swapDue {
                if due <= now { afterWork(now: now) }
            } else if let since = engine.idleSince, let linger = engine.linger,
                Self.elapsed(since, now) >= Self.nanoseconds(Double(linger))
            {
                log("idle, unloading")
                end(now: now, kill: false, .idle)
            }
        default: break
        }
        watch(now: now)
    }

    private mutating func resume(_ loading: inout Loading, now: UInt64) {
        // Whoever waited may have gone meanwhile.
        guard let target = nextTarget else {
            phase = .absent
            settle(now: now)
            return
        }
        loading.target = target
        loading.stage = .connecting
        loading.since = now
        phase = .loading(loading)
        actions.append(.launch)
    }

    /// Pings an engine with work, and kills it when it stands still.
    private mutating func watch(now: UInt64) {
        guard hasWork, !engine.isKilled else { return }
        if Self.elapsed(engine.lastMove, now) >= stallTimeout {
            log("engine makes no progress, ending it")
            counters.hangs += 1
            kill()
            return
        }
        guard Self.elapsed(engine.lastPing, now) >= Self.nanoseconds(settings.pingInterval) else {
            return
        }
        engine.lastPing = now
        engine.pings += 1
        actions.append(.send(.ping(engine.pings)))
        if case .loading = phase { return }
        askReport()
    }

    /// When `tick` is due next; nil: only after something has happened.
    package func nextDeadline(now: UInt64) -> UInt64? {
        var deadlines: [UInt64] = []
        switch phase {
        case .absent: break
        case .coolDown(let until): deadlines.append(until)
        case .loading(let loading):
            switch loading.stage {
            case .pausing(let until): deadlines.append(until)
            case .connecting:
                if !engine.isKilled {
                    deadlines.append(loading.since &+ Self.nanoseconds(settings.launchTimeout))
                }
            case .reading: break
            }
        case .draining(let draining):
            if !engine.isKilled { deadlines.append(draining.deadline) }
        case .serving:
            if parts.isEmpty, let due = swapDue {
                deadlines.append(due)
            } else if parts.isEmpty, let since = engine.idleSince, let linger = engine.linger {
                deadlines.append(since &+ Self.nanoseconds(Double(linger)))
            }
        }
        if hasWork, !engine.isKilled {
            deadlines.append(engine.lastMove &+ stallTimeout)
            deadlines.append(engine.lastPing &+ Self.nanoseconds(settings.pingInterval))
        }
        return deadlines.min()
    }
}
