internal import Checkpoints
internal import EngineLink
internal import JSON
internal import OpenAI
internal import Text

// POST /v1/completions: text or token prompts, one or several.
extension Application {
    func completions(_ call: Call, _ principal: Principal) throws(APIError) {
        let request = try CompletionRequest.decode(try call.json(), limits: requestLimits)
        let model = try models.model(named: request.options.model, for: principal)
        try request.check(vocabularySize: model.vocabularySize)
        var prompts: [[Int32]] = []
        var echoes: [String] = []
        for prompt in request.prompts {
            switch prompt {
            case .text(let text):
                let ids = model.tokenizer.encode(text, addSpecialTokens: true)
                guard !ids.isEmpty else { throw .invalidValue("prompt", "must not be empty.") }
                prompts.append(ids)
                if request.echo { echoes.append(text) }
            case .tokens(let ids):
                guard !ids.isEmpty else { throw .invalidValue("prompt", "must not be empty.") }
                prompts.append(ids)
                if request.echo {
                    echoes.append(model.tokenizer.decode(ids, skipSpecialTokens: false))
                }
            }
        }
        try refusePlaceholders(in: prompts, model)
        let resolver = SamplingResolver(options: request.options, model: model, settings: settings)
        let longest = prompts.map(\.count).max() ?? 0
        let stop = try resolver.stop(promptTokens: longest, param: "prompt")
        let n = request.options.n ?? 1
        let head = responseHead(prefix: "cmpl", model, session: request.options.sessionID)
        let plan = GenerationPlan(
            model: model,
            load: models.loadRequest(for: model),
            prompts: prompts,
            echoes: echoes,
            n: n,
            sampling: resolver.sampling(),
            stop: stop,
            stopStrings: request.options.stop ?? [],
            logprobs: request.logprobs,
            keepAlive: request.options.keepAlive?.engineSeconds
        )
        let options = request.options
        try answer(call, principal, plan, options, head) { .completion($0, options) }
    }

    /// A placeholder without its medium is no text: the engine has nothing to put there.
    private func refusePlaceholders(in prompts: [[Int32]], _ model: ServedModel) throws(APIError) {
        guard let vision = model.vision else { return }
        for prompt in prompts
        where prompt.contains(where: { [vision.imageToken, vision.videoToken].contains(Int($0)) }) {
            throw .invalidValue("prompt", "must not have placeholders of images or video.")
        }
    }
}
