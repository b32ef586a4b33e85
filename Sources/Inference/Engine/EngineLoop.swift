public import EngineLink
public import Logging
internal import Scheduling
internal import Torch

/// The engine's thread: everything that holds a tensor is owned here and used by no other thread.
public final class EngineLoop {
    private let endpoint: EngineEndpoint
    private let log: Logger
    private let library: DeviceLibrary
    private var served: ServedEngine?

    /// A loop without a model.
    ///
    /// `library`: what computes on a GPU; `log`: its lines hold no token and no text.
    public init(
        endpoint: EngineEndpoint,
        library: DeviceLibrary = DeviceLibrary(environment: [:]),
        log: Logger
    ) {
        self.endpoint = endpoint
        self.library = library
        self.log = log
    }

    /// A counter that moves within a step, for `EngineEndpoint`.
    public static var work: UInt64 { Torch.progress }

    /// Works until it is told to end.
    public func run() {
        while true {
            for command in endpoint.drain(blocking: served?.isIdle ?? true) {
                guard handle(command) else { return endpoint.finish() }
            }
            guard let served, !served.isIdle else { continue }
            endpoint.noteProgress()
            for message in served.step() { endpoint.send(message) }
        }
    }

    /// Does what the front says; false where the process is to end.
    private func handle(_ command: FrontCommand) -> Bool {
        switch command {
        case .load(let request): load(request)
        case .submit(let id, let request):
            let failure = served.map { $0.admit(id, request) } ?? .engineFailed
            if let failure { endpoint.send(.failed(id, failure)) }
        case .cancel(let id, let choice): served?.cancel(id, choice: choice)
        case .stats: if let served { endpoint.send(.stats(served.stats)) }
        case .trim: served?.trim()
        case .frontGone: served?.cancelAll()
        case .unload, .orphaned:
            log.notice("\(command == .unload ? "told to unload" : "no front came back")")
            return false
        }
        return true
    }

    private func load(_ request: LoadRequest) {
        guard served == nil else { return }
        do {
            let loader = ModelLoader(
                request: request,
                endpoint: endpoint,
                library: library,
                log: log
            )
            let engine = try loader.load()
            served = engine
            endpoint.send(.loaded(engine.description))
        } catch {
            let failure = ModelLoader.failure(of: error)
            log.error("load failed: \(failure.detail)", metadata: ["cause": "\(failure.cause)"])
            endpoint.send(.loadFailed(failure))
        }
    }
}
