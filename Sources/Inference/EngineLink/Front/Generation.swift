/// What the front knows of a generation that has not ended.
struct Generation: Sendable {
    /// Where a choice is.
    enum ChoiceState: Sendable, Equatable {
        /// Not in the engine: it has not begun, or its engine died.
        case waiting
        /// In the engine, under this wire id.
        case running(wire: GenerationID)
        /// Finished or cancelled.
        case ended
    }

    let id: GenerationID
    let key: String
    let model: LoadRequest
    let keepAlive: Int?
    /// Grows by each token: the log from which the next engine goes on.
    var request: GenerationRequest
    var states: [ChoiceState]
    /// When it was submitted.
    let arrival: UInt64
    /// When it last went to an engine.
    var startedAt: UInt64 = 0
    /// Whether it is in the waiting queue.
    var isQueued = true
    /// Whether it was ever in an engine.
    var hasStarted = false
    /// Whether a token came since it last went to an engine.
    var hasMoved = false
    /// Deaths of engines without a token of this generation in between.
    var strikes = 0
    /// Revision of the model that made its tokens.
    var revision: String?
    /// Tokens of all choices.
    var tokens = 0
    /// Tokens of the step that is being taken apart.
    var batch: [TokenEvent] = []

    init(
        id: GenerationID,
        request: GenerationRequest,
        model: LoadRequest,
        key: String,
        keepAlive: Int?,
        arrival: UInt64
    ) {
        self.id = id
        self.request = request
        self.model = model
        self.key = key
        self.keepAlive = keepAlive
        self.arrival = arrival
        states = request.choices.map { _ in .waiting }
    }

    /// After two strikes it runs alone, so that it cannot take others along.
    var runsAlone: Bool { strikes >= 2 }
    var isRunning: Bool { states.contains { if case .running = $0 { true } else { false } } }
    var isOver: Bool { states.allSatisfy { $0 == .ended } }
    var waitingChoices: [Int] { states.indices.filter { states[$0] == .waiting } }

    /// KV tokens of one choice.
    func length(ofChoice place: Int) -> Int {
        request.prompt.count + request.choices[place].generated.count
    }
}

/// What makes two requests need the same engine.
struct ModelKey: Hashable, Sendable {
    let path, files, device, dtype, quantize, bnbComputeType: String
    let numbers: [Int?]

    init(_ load: LoadRequest) {
        path = load.path
        files = load.filesIdentity
        device = load.device
        dtype = load.dtype
        quantize = load.quantize
        bnbComputeType = load.bnbComputeType
        numbers = [load.maxSlots, load.maxContext, load.kvTokens, load.stepTokens, load.threads]
    }
}
