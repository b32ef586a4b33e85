internal import EngineLink
internal import Foundation
internal import JSON
internal import Logging
internal import OpenAI
internal import Settings

// POST /v1/chat/completions.
extension Application {
    func chatCompletions(_ call: Call, _ principal: Principal) throws(APIError) {
        let request = try ChatCompletionRequest.decode(try call.json(), limits: requestLimits)
        let model = try models.model(named: request.options.model, for: principal)
        try request.options.check(vocabularySize: model.vocabularySize)
        let prompt = try prompt(of: request, model, principal, call)
        let media = prompt.media.compactMap { $0.promptMedia(owner: principal.owner) }
        guard media.count == prompt.media.count else { throw .serverOverloaded(retryAfter: 1) }
        if !media.isEmpty {
            metrics.count("torchgate_media_total", Double(media.count))
            metrics.observe("torchgate_media_seconds", prompt.mediaSeconds)
        }
        let resolver = SamplingResolver(options: request.options, model: model, settings: settings)
        let plan = GenerationPlan(
            model: model,
            load: models.loadRequest(for: model),
            prompts: [prompt.ids],
            media: media,
            placedMedia: prompt.media,
            mediaSeconds: prompt.mediaSeconds,
            n: request.options.n ?? 1,
            sampling: resolver.sampling(),
            stop: try resolver.stop(promptTokens: prompt.ids.count, param: "messages"),
            stopStrings: request.options.stop ?? [],
            logprobs: request.logprobs,
            keepAlive: request.options.keepAlive?.engineSeconds
        )
        let head = responseHead(prefix: "chatcmpl", model, session: request.options.sessionID)
        let options = request.options
        try answer(call, principal, plan, options, head) { .chat($0, options) }
    }

    /// The prompt; who streams hears heartbeats while media are fetched and decoded.
    private func prompt(
        of request: ChatCompletionRequest,
        _ model: ServedModel,
        _ principal: Principal,
        _ call: Call
    ) throws(APIError) -> PreparedPrompt {
        let (conversation, caller) = (request.conversation, PromptMaker.Caller(principal))
        guard request.options.stream, !conversation.media.isEmpty else {
            return try prompts.prompt(conversation, model, caller)
        }
        return try call.streaming(settings.streams) { [prompts] () throws(APIError) in
            try prompts.prompt(conversation, model, caller)
        }
    }

    /// Starts the generation and carries its answer, streamed or whole, to the client.
    func answer(
        _ call: Call,
        _ principal: Principal,
        _ plan: GenerationPlan,
        _ options: GenerationOptions,
        _ head: ResponseHead,
        writer: @escaping @Sendable (ResponseHead) -> ItemWriter
    ) throws(APIError) {
        let resumed = options.stream ? try call.lastEvent(of: options.sessionID) : nil
        log.info(
            "generation",
            metadata: [
                "rid": "\(call.requestID)", "model": "\(plan.model.id)",
                "seed": "\(plan.sampling.seed)",
                "prompt_tokens": "\(plan.promptTokens)",
                "choices": "\(plan.prompts.count * plan.n)",
                "media": "\(plan.media.count)",
            ]
        )
        let stream = try generator.start(
            plan,
            call,
            principal: principal,
            head: head,
            sessionID: options.sessionID,
            isResumed: resumed != nil,
            writer: writer
        )
        deliver(stream, to: call) { delivery in
            options.stream
                ? delivery.stream(from: resumed.map { $0 + 1 } ?? 0)
                : delivery.whole(choices: plan.prompts.count * plan.n)
        }
    }

    /// Carries a stream to a reader, who is counted, until either ends.
    func deliver(
        _ stream: GenerationStream,
        to call: Call,
        _ read: (Delivery) -> Delivery.Ending
    ) {
        let delivery = Delivery(
            call: call,
            stream: stream,
            settings: settings,
            retrySeconds: { [engines] in engines.summary().retrySeconds }
        )
        let ending = read(delivery)
        if ending == .deadline { generator.cancel(stream) }
        if ending == .clientGone { metrics.count("torchgate_clients_gone_total") }
        generator.release(stream)
    }

    /// What every chunk of an answer begins with, but for the engine's fingerprint.
    func responseHead(prefix: String, _ model: ServedModel, session: String?) -> ResponseHead {
        ResponseHead(
            id: session ?? "\(prefix)-\(Self.randomID())",
            created: Int(Date().timeIntervalSince1970),
            model: model.id,
            systemFingerprint: nil
        )
    }

    /// 24 letters and digits.
    private static func randomID() -> String {
        let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        return String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count)] })
    }
}

extension GenerationOptions.KeepAlive {
    /// The supervisor's spelling: seconds, negative for ever.
    var engineSeconds: Int {
        switch self {
        case .forever: -1
        case .seconds(let seconds): seconds
        }
    }
}
