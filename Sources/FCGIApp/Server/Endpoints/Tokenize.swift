internal import JSON
internal import OpenAI
internal import Settings
internal import Text

// POST /v1/tokenize and /v1/detokenize: no engine needed.
extension Application {
    func tokenize(_ call: Call, _ principal: Principal) throws(APIError) {
        let request = try TokenizeRequest.decode(try call.json(), limits: requestLimits)
        let model = try models.model(named: request.model, for: principal)
        var body = JSONObject()
        let ids: [Int32]
        switch request.input {
        case .text(let text):
            ids = model.tokenizer.encode(text, addSpecialTokens: request.addSpecialTokens ?? true)
        case .conversation(let conversation):
            let prompt = try prompts.prompt(conversation, model, PromptMaker.Caller(principal))
            ids = prompt.ids
            body["prompt"] = .string(prompt.text)
        }
        body["count"] = .int(ids.count)
        body["max_model_len"] = .int(model.contextLength)
        body["tokens"] = .array(ids.map { .int(Int($0)) })
        call.send(.object(body))
    }

    func detokenize(_ call: Call, _ principal: Principal) throws(APIError) {
        let request = try DetokenizeRequest.decode(try call.json())
        let model = try models.model(named: request.model, for: principal)
        try request.check(vocabularySize: model.vocabularySize)
        call.send([
            "prompt": .string(model.tokenizer.decode(request.tokens, skipSpecialTokens: false))
        ])
    }
}
