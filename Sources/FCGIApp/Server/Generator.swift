internal import CLinux
internal import EngineLink
internal import FastCGI
internal import Foundation
internal import Generations
internal import Logging
internal import OpenAI
internal import Settings
internal import Streams
internal import Text

/// Starts generations and carries what the engine says about them into their logs.
///
/// The supervisor's thread hands each step over to the work pool, where the transcript makes text of
/// tokens; the connection's thread reads the log. Nothing blocks the supervisor's thread.
final class Generator: Sendable {
    typealias Registry = StreamRegistry<StreamItem, GenerationContext>

    let settings: Settings
    let engines: EngineFleet
    let registry: Registry
    let limiter: RateLimiter
    let metrics: Metrics
    let log: Logger
    /// Whether a key's requests may go on.
    private let isLive: @Sendable (String) -> Bool
    private let pool = WorkPool(threads: 2)

    init(
        settings: Settings,
        engines: EngineFleet,
        limiter: RateLimiter,
        metrics: Metrics,
        log: Logger,
        isLive: @escaping @Sendable (String) -> Bool
    ) {
        self.isLive = isLive
        self.settings = settings
        self.engines = engines
        self.limiter = limiter
        self.metrics = metrics
        self.log = log
        var rules = Streams.StreamSettings()
        rules.detach = settings.streams.detach == .always ? .always : .explicit
        let after = settings.streams.cancelAfterDisconnect
        rules.cancelAfterDisconnect = after == 0 ? nil : after
        rules.ring = settings.streams.ring
        rules.timeToLive = settings.streams.ttl
        registry = Registry(settings: rules)
    }

    /// Opens the stream of a request and, unless the same request runs already, starts its generation.
    ///
    /// The caller reads it and then calls `release`. `isResumed`: only a stream that is there will do.
    /// - Throws: 409, 429 or 503.
    func start(
        _ plan: GenerationPlan,
        _ call: Call,
        principal: Principal,
        head: ResponseHead,
        sessionID: String?,
        isResumed: Bool,
        writer: @escaping @Sendable (ResponseHead) -> ItemWriter
    ) throws(APIError) -> GenerationStream {
        let context = GenerationContext(
            head: head,
            keyID: principal.keyID,
            requestID: call.requestID,
            writer: writer
        )
        let opening = registry.open(
            StreamKey(owner: principal.owner, session: sessionID ?? head.id),
            bodyHash: call.identity,
            isExplicit: sessionID != nil,
            context: context
        )
        switch opening {
        case .conflict: throw .sessionConflict
        case .existing(let stream): return stream
        case .created(let stream):
            do throws(APIError) {
                if isResumed { throw .eventsExpired(first: nil) }
                try reserve(plan, call, principal)
                try submit(plan, stream, principal)
                // A key that was revoked before the stream was known to `cancelAll` is seen here.
                guard isLive(principal.keyID) else {
                    stream.context.cancel()
                    throw .invalidAPIKey(presented: nil)
                }
                return stream
            } catch {
                registry.remove(stream)
                throw error
            }
        }
    }

    /// A reader leaves; without others, and unless the session outlives its readers, the work ends too.
    func release(_ stream: GenerationStream) {
        if registry.detach(stream) { cancel(stream) }
    }

    /// Ends a generation in queue, prefill and decode alike.
    func cancel(_ stream: GenerationStream) {
        guard !stream.log.isFinished else { return }
        metrics.count(
            "torchgate_requests_aborted_total{phase=\"\(Self.label(stream.context.phase))\"}"
        )
        stream.context.cancel()
    }

    private static func label(_ phase: GenerationContext.Phase) -> String {
        switch phase {
        case .queued: "queue"
        case .loading: "load"
        case .running: "engine"
        }
    }

    /// Ends what belongs to keys that are no longer good.
    func cancelAll(ofKeys gone: Set<String>) {
        for stream in registry.running where gone.contains(stream.context.keyID) {
            cancel(stream)
        }
    }

    // MARK: Admission

    private func reserve(_ plan: GenerationPlan, _ call: Call, _ principal: Principal)
        throws(APIError)
    {
        let now = monotonicSeconds()
        let amount = plan.reservation
        let (refusal, budget) = limiter.with(principal.keyID, principal.limits, now: now) {
            budget in
            (budget.reserve(tokens: amount, now: now), budget)
        }
        call.limitHeaders = Gate.headers(of: budget)
        switch refusal {
        case nil: return
        case .limit(let name, let seconds):
            throw .rateLimitExceeded(name, retryAfter: Int(seconds.rounded(.up)))
        case .spent(let seconds): throw .insufficientQuota(retryAfter: Int(seconds.rounded(.up)))
        }
    }

    private func submit(_ plan: GenerationPlan, _ stream: GenerationStream, _ principal: Principal)
        throws(APIError)
    {
        let run = GenerationRun(plan: plan, stream: stream, generator: self, principal: principal)
        // `echo` with `max_tokens: 0`: the prompts come back, no engine is needed.
        guard plan.stop.maxTokens > 0 else { return run.echo() }
        stream.context.setCanceller { run.fail(.requestCancelled) }
        for (part, prompt) in plan.prompts.enumerated() {
            let request = GenerationRequest(
                prompt: prompt,
                choices: (0..<plan.n).map { ChoiceStart(index: $0) },
                sampling: plan.sampling,
                stop: plan.stop,
                logprobs: plan.logprobs,
                media: plan.media,
                label: stream.context.requestID
            )
            do throws(SupervisorError) {
                let id = try engines.submit(
                    request,
                    model: plan.load,
                    key: principal.keyID,
                    weight: principal.weight,
                    keepAlive: plan.keepAlive
                ) { [pool, number = run.number] event in
                    pool.run(number) { run.take(event, part: part) }
                }
                run.setID(id, part: part)
            } catch {
                run.abandon()
                throw Self.refusal(error, metrics)
            }
        }
    }

    private static func refusal(_ error: SupervisorError, _ metrics: Metrics) -> APIError {
        switch error {
        case .queueFull(let seconds):
            metrics.count("torchgate_requests_rejected_total{cause=\"queue_full\"}")
            return .serverOverloaded(retryAfter: max(1, seconds))
        case .draining: return .draining(retryAfter: 5)
        case .coolDown(let seconds, let sentence):
            metrics.count("torchgate_requests_rejected_total{cause=\"load_failed\"}")
            return .modelLoadFailed(sentence, retryAfter: max(1, seconds))
        case .invalid: return .internalError
        }
    }

    /// The wire's form of an engine's failure.
    static func error(_ failure: GenerationFailure) -> APIError {
        switch failure.code {
        case "model_load_failed":
            .modelLoadFailed(failure.message, retryAfter: failure.retryAfterSeconds ?? 10)
        case "request_cancelled": .requestCancelled
        case "draining": .draining(retryAfter: 5)
        case "context_length_exceeded":
            APIError(
                status: 400,
                type: .invalidRequest,
                code: "context_length_exceeded",
                param: "messages",
                message: failure.message
            )
        case "invalid_prompt": .invalidValue("prompt", failure.message)
        default: .engineFailed
        }
    }
}
