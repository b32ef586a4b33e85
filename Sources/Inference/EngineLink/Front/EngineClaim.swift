/// How well an engine suits a model; the least is the best.
package enum EngineClaim: Sendable, Comparable {
    /// It has the model, loads it, or others wait for it there.
    case own
    /// There is no process.
    case free
    /// It has another model and nothing to do, since then.
    case idle(since: UInt64)
    /// It has so many generations of others.
    case busy(generations: Int)
}

extension SupervisorMachine {
    /// What the engine would have to do for a model.
    package func claim(to model: LoadRequest) -> EngineClaim {
        let key = ModelKey(model)
        if queues[key] != nil || failures[key] != nil { return .own }
        if preload?.isSameEngine(as: model) ?? false { return .own }
        switch phase {
        case .absent, .coolDown:
            return queues.isEmpty ? .free : .busy(generations: generations.count)
        case .loading(let loading):
            if loading.target?.isSameEngine(as: model) ?? false { return .own }
            // An orphan is looked for: nobody has asked for anything yet.
            if loading.target == nil { return .free }
        case .serving:
            if engine.load?.isSameEngine(as: model) ?? false { return .own }
        case .draining(let draining):
            if !draining.isEnding, engine.load?.isSameEngine(as: model) ?? false { return .own }
        }
        guard generations.isEmpty, let since = engine.idleSince else {
            return .busy(generations: generations.count)
        }
        return .idle(since: since)
    }
}
