internal import CLinux
public import EngineLink
public import FastCGI
internal import Foundation
public import KeyStore
public import Logging
internal import Media
internal import NVML
internal import OpenAI
public import Settings
internal import Streams
internal import Synchronization

/// The front: from a FastCGI exchange to its answer.
///
/// `handle` runs on connection threads, many at once; everything it holds is safe from any thread.
public final class Application: Sendable {
    let settings: Settings
    let keys: KeyStore?
    let engines: EngineFleet
    let models: ModelLibrary
    let generator: Generator
    let metrics = Metrics()
    let memory: MemoryWatch
    let limiter = RateLimiter()
    let gate: Gate
    let requestLimits: RequestLimits
    let prompts: PromptMaker
    let log: Logger
    private let accessLog: Logger
    private let draining = Mutex(false)
    private let keysTrouble = Mutex<String?>(nil)

    /// Puts the rooms together.
    ///
    /// Starts nothing but the supervisors, one for each launcher. `keys`: nil where authentication is off.
    public init(
        settings: Settings,
        keys: KeyStore?,
        launchers: [any EngineLauncher],
        log: Logger
    ) {
        self.settings = settings
        self.keys = keys
        self.log = log
        var access = log
        access[metadataKey: "kind"] = "access"
        accessLog = access
        let standard = KeyBudget.Limits(
            requests: settings.rateLimiting.enabled ? settings.rateLimiting.requestsPerMinute : nil
        )
        gate = Gate(keys: keys, limiter: limiter, standard: standard)
        var bounds = SupervisorSettings()
        bounds.maxWaiting = settings.limits.queue
        bounds.idleTimeout = Int(settings.engine.idleTimeout.rounded(.up))
        bounds.hangTimeout = settings.engine.hangTimeout
        bounds.coolDown = settings.engine.coolDown
        bounds.minResidency = settings.engine.minResidency
        bounds.swapPatience = settings.engine.swapPatience
        bounds.build = Build.version
        let standardModel = settings.models.settings[settings.models.standard]
        memory = MemoryWatch(
            threshold: settings.engine.vramThreshold,
            standardDevice: standardModel?.device ?? settings.engine.device,
            nvml: NVML(),
            metrics: metrics,
            log: log
        )
        engines = EngineFleet(
            settings: bounds,
            launchers: launchers,
            log: { log.info("\($0)", metadata: ["part": "engine"]) },
            ended: { [memory] in memory.hear($0) }
        )
        memory.start(engines)
        models = ModelLibrary(settings: settings, log: log)
        var limits = RequestLimits()
        limits.messages = settings.limits.messages
        limits.stopStrings = settings.limits.stopStrings
        limits.stopBytes = settings.limits.stopBytes
        limits.media = settings.media.perRequest
        limits.mediaFrames = settings.media.maxFrames
        requestLimits = limits
        let room = MediaRoom(settings.media) { line in
            log.warning("\(line)", metadata: ["part": "media"])
        }
        prompts = PromptMaker(settings: settings, room: room, faults: models.faults)
        generator = Generator(
            settings: settings,
            engines: engines,
            limiter: limiter,
            metrics: metrics,
            log: log,
            isLive: { [keys] id in keys.map { $0.record(id: id) != nil } ?? true }
        )
        keys?.onChange { [generator, keys] ids in
            generator.cancelAll(ofKeys: ids.filter { keys?.record(id: $0) == nil })
        }
    }

    /// Why no new work is accepted, a word for the public pages; nil where it is.
    var refusal: String? {
        if draining.withLock({ $0 }) { return "draining" }
        return keys?.failure == nil ? nil : "keys_unreadable"
    }

    /// Loads the default model if the settings say so.
    public func preload() {
        guard settings.models.preload, let model = try? models.model(named: nil, for: nil) else {
            return
        }
        engines.preload(models.loadRequest(for: model))
    }

    /// What has to be done about once a second.
    public func tick() {
        for stream in generator.registry.sweep() { generator.cancel(stream) }
        watchKeys()
    }

    /// Says once why every key is refused, and once that it is over.
    private func watchKeys() {
        let failure = keys?.failure.map { "\($0)" }
        let isNews = keysTrouble.withLock { known in
            defer { known = failure }
            return known != failure
        }
        guard isNews else { return }
        if let failure {
            log.error("every key is refused: \(failure)", metadata: ["part": "keys"])
        } else {
            log.notice("keys can be read again", metadata: ["part": "keys"])
        }
    }

    /// Takes no new work, lets what runs end, then lets go of the engine.
    ///
    /// `unload`: whether the engine ends too; else it waits for the next front.
    public func stop(drainSeconds: Double, unload: Bool) {
        draining.withLock { $0 = true }
        engines.stop(drainSeconds: drainSeconds, unload: unload)
        _ = memory.releases(after: 0, seconds: 3)
    }

    /// Whether the threads that carry the work have gone round lately, for who watches the process.
    public var isAlive: Bool { engines.isAlive(within: 10) }

    /// Answers one request, on its connection thread.
    public func handle(_ exchange: FastCGIExchange) {
        let call = Call(exchange)
        let label: String
        switch Router.match(method: call.method, path: call.path) {
        case .found(let endpoint):
            label = endpoint.label
            run(call, endpoint)
        case .wrongMethod(let allowed):
            label = "other"
            refuse(call) { () throws(APIError) in
                try gate.admitAnything(call)
                call.extraHeaders = [("Allow", allowed)]
                throw .methodNotAllowed(call.method)
            }
        case .notFound:
            label = "other"
            refuse(call) { () throws(APIError) in
                try gate.admitAnything(call)
                throw .unknownURL(method: call.method, path: call.path)
            }
        }
        finish(call, label)
    }

    /// The answer where all workers are busy.
    public func overloaded(_ exchange: FastCGIExchange) {
        let call = Call(exchange)
        call.send(APIError.serverOverloaded(retryAfter: 1))
        metrics.count("torchgate_requests_rejected_total{cause=\"workers\"}")
        finish(call, "other")
    }

    private func run(_ call: Call, _ endpoint: Endpoint) {
        refuse(call) { () throws(APIError) in
            if keys?.failure != nil, endpoint.access != .open {
                throw .serverOverloaded(retryAfter: 2)
            }
            try gate.admit(call, to: endpoint)
            switch exchangeBody(call) {
            case .complete: break
            case .tooLarge: throw .requestTooLarge(limit: settings.limits.bodyBytes)
            case .truncated: throw .requestTimeout
            case .noRoom: throw .serverOverloaded(retryAfter: 1)
            }
            try dispatch(call, endpoint)
        }
    }

    private func exchangeBody(_ call: Call) -> FastCGIRequest.Body {
        call.exchange.request.bodyState
    }

    private func dispatch(_ call: Call, _ endpoint: Endpoint) throws(APIError) {
        let principal = call.principal ?? .anybody
        switch endpoint {
        case .chatCompletions: try chatCompletions(call, principal)
        case .completions: try completions(call, principal)
        case .models: listModels(call, principal)
        case .repositories: listRepositories(call, principal)
        case .model(let id): try showModel(call, principal, id: id)
        case .stream(let id): try resumeStream(call, principal, id: id)
        case .tokenize: try tokenize(call, principal)
        case .detokenize: try detokenize(call, principal)
        case .status: status(call)
        case .unload: unload(call)
        case .memory: memoryStatus(call)
        case .clearMemory: clearMemory(call)
        case .metrics: exposition(call)
        case .root: root(call)
        case .health: health(call)
        case .live: live(call)
        case .ready: ready(call)
        case .authentication: gate.authenticate(call)
        }
    }

    private func refuse(_ call: Call, _ body: () throws(APIError) -> Void) {
        do throws(APIError) { try body() } catch {
            if error.status == 429 {
                metrics.count("torchgate_requests_rejected_total{cause=\"key_limit\"}")
            }
            call.send(error)
        }
    }

    private func finish(_ call: Call, _ label: String) {
        // nginx's word for a client that left before it was answered.
        let status = call.status == 0 ? 499 : call.status
        metrics.count(
            "torchgate_http_requests_total{endpoint=\"\(label)\",status=\"\(status)\"}"
        )
        metrics.count("torchgate_flushes_total", Double(call.exchange.response.flushes))
        guard label != "health", label != "auth" else { return }
        accessLog.info(
            "request",
            metadata: [
                "rid": "\(call.requestID)", "key": "\(call.principal?.keyID ?? "-")",
                "method": "\(call.method.prefix(16))", "endpoint": "\(label)",
                "status": "\(status)",
                "ms": "\(Int(call.age * 1000))", "bytes": "\(call.bytesSent)",
            ]
        )
    }
}
