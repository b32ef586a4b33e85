// Decides everything about the engine and the queue, and performs nothing: no I/O, no clock, no lock.
// The driver (SupervisorDriver) tells it what happened and when, and performs its actions in order.
//
// 1. A generation ends exactly once: `finished`, `failed`, or `forget` after a cancel.
// 2. Choices in the engine never exceed the slots that it last reported.
// 3. `parts` holds exactly the choices in state `.running`; without an engine it is empty.
// 4. A token is appended to the log when it is delivered, so that log and client never differ.

/// The supervisor's state and policy.
package struct SupervisorMachine: Sendable {
    /// What the driver must do, in order.
    package enum Action: Sendable, Equatable {
        /// Connect to an engine if one is alive; else report `gone`.
        case adopt
        /// Connect to an engine, starting one if none is alive.
        case launch
        /// Send to the connected engine.
        case send(FrontMessage)
        /// End the engine's process by force and report `gone`.
        case kill
        /// Tell a generation's owner.
        case deliver(GenerationID, GenerationEvent)
        /// A cancelled generation ends without a word.
        case forget(GenerationID)
        /// An engine that had a model is gone.
        case ended(EngineEnd)
        /// A caller of `unload` has its answer.
        case unloadEnded(ticket: UInt64, UnloadOutcome)
        /// One line for the log: no prompt, no output.
        case log(String)
    }

    /// The engine's life; what each case says is true while it lasts.
    enum Phase: Sendable, Equatable {
        /// No process and no connection; nothing waits, nothing runs.
        case absent
        /// An engine is looked for, started or loading; nothing runs.
        case loading(Loading)
        /// The engine has a model and takes generations.
        case serving
        /// The engine gets nothing new; see `Draining`.
        case draining(Draining)
        /// No process; a load failed and its model is refused until then; nothing waits.
        case coolDown(until: UInt64)
    }

    struct Loading: Sendable, Equatable {
        enum Stage: Sendable, Equatable {
            /// After a crash: the next start waits, so that there is no crash loop.
            case pausing(until: UInt64)
            /// The driver connects; no hello yet.
            case connecting
            /// The engine said hello and reads the model.
            case reading
        }
        /// Nil while an orphan is looked for and nobody has asked for a model.
        var target: LoadRequest?
        /// An orphan is looked for: finding none is no failure.
        var isAdopting = false
        var stage: Stage
        var since: UInt64
        var fraction = 0.0
        /// When the log last heard of it.
        var loggedAt: UInt64 = 0
    }

    struct Draining: Sendable, Equatable {
        /// False: generations run, and the engine serves again if they outlast the deadline.
        ///
        /// True: nothing runs, the process was told to end and is killed at the deadline.
        var isEnding: Bool
        var deadline: UInt64
        /// Nil where a failed load ends its engine, which is no unload.
        var cause: EngineEnd.Cause? = .manual
    }

    /// What is known of the engine's process; fresh for each.
    struct Engine: Sendable {
        var load: LoadRequest?
        var model: LoadedModel?
        var stats: EngineStats?
        /// Resident bytes of its process, as the driver last read them.
        var resident: Int?
        var pid: Int32?
        var steps: UInt64 = 0
        /// Last sign of progress.
        var lastMove: UInt64 = 0
        var lastPing: UInt64 = 0
        var progressCounter: UInt64?
        var pings: UInt64 = 0
        /// Killed; its end is awaited.
        var isKilled = false
        var idleSince: UInt64?
        /// When the model was loaded; nil for an engine that was found.
        var loadedAt: UInt64?
        /// Seconds of idleness before the unload; nil: never.
        var linger: Int?
        /// What the engine was told of it, for the front that adopts it.
        var toldLinger: EngineHello.Linger?
    }

    /// A submission to the engine: a generation's choices under one wire id.
    struct Part: Sendable {
        let generation: GenerationID
        var open: Int
    }

    struct Failure: Sendable {
        var count: Int
        var until: UInt64
        var cause: LoadFailureCause
        var sentence: String
        var modelID: String
    }

    let settings: SupervisorSettings
    var phase = Phase.absent
    var engine = Engine()
    var generations: [GenerationID: Generation] = [:]
    var queues: [ModelKey: WaitingQueue] = [:]
    var waitingCount = 0
    var parts: [GenerationID: Part] = [:]
    var usedSlots = 0
    var usedTokens = 0
    var lastID: GenerationID = 0
    var lastWire: GenerationID = 0
    var failures: [ModelKey: Failure] = [:]
    var loadDeaths = 0
    /// Crashes since the last token.
    var barrenCrashes = 0
    var preload: LoadRequest?
    var unloadTickets: [UInt64] = []
    /// Reports asked of engines, and those that have come or never will.
    var reportsAsked: UInt64 = 0
    var reportsDone: UInt64 = 0
    var isStopping = false
    var counters = EngineStatus()
    /// Smoothed seconds that a generation is in the engine.
    var averageSeconds = 1.0
    var actions: [Action] = []

    /// A machine without an engine.
    package init(settings: SupervisorSettings) { self.settings = settings }

    /// Takes what is to be done.
    package mutating func takeActions() -> [Action] {
        defer { actions = [] }
        return actions
    }

    /// Whether no generation is left.
    package var isEmpty: Bool { generations.isEmpty }

    static func nanoseconds(_ seconds: Double) -> UInt64 {
        UInt64(max(0, min(seconds, 3.2e7)) * 1e9)
    }

    /// Nanoseconds from one moment to a later one; 0 where the order is reversed.
    static func elapsed(_ since: UInt64, _ now: UInt64) -> UInt64 { now > since ? now - since : 0 }

    mutating func deliver(_ id: GenerationID, _ event: GenerationEvent) {
        actions.append(.deliver(id, event))
    }

    mutating func log(_ line: String) { actions.append(.log(line)) }
}
