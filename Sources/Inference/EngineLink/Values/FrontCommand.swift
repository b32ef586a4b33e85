/// What the engine's thread is told, in order.
public enum FrontCommand: Sendable, Equatable {
    /// Load this model; comes once in an engine's life.
    case load(LoadRequest)
    /// Run this; the id is new. The front never submits more choices than there are free slots.
    case submit(GenerationID, GenerationRequest)
    /// Stop a choice, or all of them; unknown ids are normal (it may just have ended). Not answered.
    case cancel(GenerationID, choice: Int?)
    /// End the process.
    case unload
    /// Give cached memory back.
    case trim
    /// Send `EngineMessage.stats`.
    case stats
    /// The front is gone: drop every generation, keep the model.
    case frontGone
    /// No front came back within the grace: end the process.
    case orphaned
}

/// What the engine's thread tells the front.
public enum EngineMessage: Sendable, Equatable {
    /// Bytes loaded and bytes in all.
    case progress(done: Int, total: Int)
    /// The model is ready.
    case loaded(LoadedModel)
    /// It is not, and the process ends or waits for another load.
    case loadFailed(LoadFailure)
    /// Tokens of one step.
    case step(EngineStep)
    /// One generation ended with an error; the others go on.
    case failed(GenerationID, GenerationFailure)
    /// A report.
    case stats(EngineStats)
}
