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
        let resolver = SamplingResolver(options: request.options, model: model, settings: settings)
        let longest = prompts.map(\.count).max() ?? 0
        let stop = try resolver.stop(promptTokens: longest, param: "prompt")
        let n = request.options.n ?? 1
        let head = responseHead(prefix: "cmpl", model, session: request.options.sessionID)
        let items = ItemWriter.completion(head, request.options)
        if stop.maxTokens == 0 {
            // `echo` with `max_tokens: 0`: the prompts come back, no engine is needed.
            return sendEcho(
                call,
                items,
                echoes: echoes,
                n: n,
                promptTokens: prompts.reduce(0) { $0 + $1.count }
            )
        }
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
        try answer(call, principal, plan, request.options, items, head)
    }

    private func sendEcho(
        _ call: Call,
        _ items: ItemWriter,
        echoes: [String],
        n: Int,
        promptTokens: Int
    ) {
        let choices = echoes.flatMap { text in (0..<n).map { _ in text } }.enumerated().map {
            place,
            text in
            AnsweredChoice(index: place, text: text, finish: .length)
        }
        let usage = Usage(promptTokens: promptTokens, completionTokens: 0)
        var output: [UInt8] = []
        let timings = Timings(queue: 0, load: 0, prefill: 0, decode: 0)
        items.appendWhole(choices, usage, timings, to: &output)
        call.send(status: 200, output)
    }
}
