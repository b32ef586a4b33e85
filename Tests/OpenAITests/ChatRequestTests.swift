import JSON
import OpenAI
import Testing

@Suite struct ChatRequestTests {
    @Test func `every field of a full request is read`() throws {
        let request = try chat(
            """
            {"model":"m","messages":[{"role":"system","content":"s"},{"role":"developer","content":"d"},
            {"role":"user","name":"ann","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
            {"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"c1",
            "type":"function","function":{"name":"f","arguments":"{\\"x\\": 1}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"3"}],
            "max_tokens":5,"max_completion_tokens":7,"min_tokens":2,"temperature":0,"top_p":0.5,"top_k":-1,
            "min_p":0.1,"n":2,"seed":-9223372036854775808,"stop":["a","b"],"presence_penalty":-2,
            "frequency_penalty":2,"repetition_penalty":1.5,"logit_bias":{"7":-100,"8":0.5},
            "logprobs":true,"top_logprobs":20,"stream":true,"stream_options":{"include_usage":true},
            "chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"low","user":"u",
            "metadata":{"k":"v"},"session_id":"S-1._","keep_alive":-1,"ignore_eos":true,"timings":true,
            "tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto",
            "parallel_tool_calls":false,"response_format":{"type":"text"},"add_generation_prompt":true,
            "unknown":{"is":["ignored"]}}
            """
        )
        let options = request.options
        #expect(options.model == "m")
        #expect(options.maxTokens == 7)
        #expect(options.minTokens == 2)
        #expect(options.temperature == 0)
        #expect(options.topP == 0.5)
        #expect(options.topK == 0)
        #expect(options.minP == 0.1)
        #expect(options.n == 2)
        #expect(options.seed == .min)
        #expect(options.stop == ["a", "b"])
        #expect(options.presencePenalty == -2)
        #expect(options.frequencyPenalty == 2)
        #expect(options.repetitionPenalty == 1.5)
        #expect(options.logitBias == [7: -100, 8: 0.5])
        #expect(options.stream)
        #expect(options.includeUsage)
        #expect(options.user == "u")
        #expect(options.metadata?["k"] == "v")
        #expect(options.sessionID == "S-1._")
        #expect(options.keepAlive == .forever)
        #expect(options.ignoreEOS == true)
        #expect(options.timings)
        #expect(request.logprobs == 20)
        #expect(request.parallelToolCalls == false)
        let conversation = request.conversation
        #expect(
            conversation.messages.map(\.role) == [.system, .developer, .user, .assistant, .tool]
        )
        #expect(conversation.messages[2].text == "a\nb")
        #expect(conversation.messages[2].name == "ann")
        #expect(conversation.messages[3].content == nil)
        #expect(conversation.messages[3].reasoningContent == "r")
        #expect(conversation.messages[3].toolCalls.first?.arguments == ["x": 1])
        #expect(conversation.messages[4].toolCallID == "c1")
        #expect(conversation.tools.count == 1)
        #expect(conversation.templateKeywords["enable_thinking"] == false)
        #expect(conversation.reasoningEffort == "low")
        #expect(conversation.addGenerationPrompt == true)
    }

    @Test func `what a request leaves out or sends as null stays absent`() throws {
        let names = [
            "model", "max_tokens", "max_completion_tokens", "min_tokens", "temperature", "top_p",
            "top_k", "min_p", "n", "seed", "stop", "presence_penalty", "frequency_penalty",
            "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "stream",
            "stream_options", "chat_template_kwargs", "reasoning_effort", "user", "metadata",
            "session_id", "keep_alive", "ignore_eos", "timings", "tools", "tool_choice",
            "response_format", "add_generation_prompt", "continue_final_message", "regex",
        ]
        let nulls = try chat(with: names.map { "\"\($0)\":null" }.joined(separator: ","))
        #expect(nulls == (try chat(with: "\"x\":1")))
        #expect(nulls.options.temperature == nil)
        #expect(nulls.options.n == nil)
        #expect(nulls.options.ignoreEOS == nil)
        #expect(nulls.logprobs == nil)
    }

    @Test(arguments: [
        ("\"temperature\":\"hot\"", "temperature"), ("\"temperature\":2.1", "temperature"),
        ("\"temperature\":-0.1", "temperature"), ("\"temperature\":1e999", "temperature"),
        ("\"temperature\":true", "temperature"), ("\"top_p\":0", "top_p"),
        ("\"top_p\":1.01", "top_p"),
        ("\"top_k\":-2", "top_k"), ("\"top_k\":1.5", "top_k"), ("\"min_p\":1.1", "min_p"),
        ("\"n\":0", "n"), ("\"n\":17", "n"), ("\"n\":100000", "n"), ("\"n\":1e300", "n"),
        ("\"max_tokens\":-1", "max_tokens"), ("\"max_tokens\":0", "max_tokens"),
        ("\"max_tokens\":2147483648", "max_tokens"),
        ("\"max_tokens\":99999999999999999999", "max_tokens"),
        ("\"max_completion_tokens\":0.5", "max_completion_tokens"),
        ("\"min_tokens\":-1", "min_tokens"), ("\"min_tokens\":3,\"max_tokens\":2", "min_tokens"),
        ("\"seed\":1.0", "seed"), ("\"seed\":1e3", "seed"), ("\"seed\":\"1\"", "seed"),
        ("\"seed\":9223372036854775808", "seed"),
        ("\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", "stop"),
        ("\"stop\":\"\"", "stop"), ("\"stop\":[1]", "stop"), ("\"stop\":{}", "stop"),
        ("\"presence_penalty\":2.5", "presence_penalty"),
        ("\"frequency_penalty\":-2.5", "frequency_penalty"),
        ("\"repetition_penalty\":0", "repetition_penalty"),
        ("\"repetition_penalty\":10.5", "repetition_penalty"),
        ("\"logit_bias\":{\"x\":1}", "logit_bias"), ("\"logit_bias\":{\"-1\":1}", "logit_bias"),
        ("\"logit_bias\":{\"4294967296\":1}", "logit_bias"),
        ("\"logit_bias\":{\"1\":101}", "logit_bias"),
        ("\"logit_bias\":{\"1\":\"a\"}", "logit_bias"), ("\"logit_bias\":[1]", "logit_bias"),
        ("\"logprobs\":1", "logprobs"), ("\"top_logprobs\":1", "top_logprobs"),
        ("\"logprobs\":true,\"top_logprobs\":21", "top_logprobs"),
        ("\"logprobs\":true,\"top_logprobs\":-1", "top_logprobs"), ("\"stream\":\"yes\"", "stream"),
        ("\"stream_options\":{}", "stream_options"),
        (
            "\"stream\":true,\"stream_options\":{\"include_usage\":1}",
            "stream_options.include_usage"
        ),
        ("\"chat_template_kwargs\":{\"chat_template\":\"x\"}", "chat_template_kwargs"),
        ("\"chat_template_kwargs\":{\"messages\":[]}", "chat_template_kwargs"),
        ("\"chat_template\":\"x\"", "chat_template"),
        ("\"reasoning_effort\":\"very\"", "reasoning_effort"),
        ("\"session_id\":\"\"", "session_id"), ("\"session_id\":\"a b\"", "session_id"),
        ("\"session_id\":\"\\n\"", "session_id"), ("\"session_id\":\"ä\"", "session_id"),
        ("\"keep_alive\":-2", "keep_alive"), ("\"keep_alive\":-0.5", "keep_alive"),
        ("\"keep_alive\":\"5m\"", "keep_alive"), ("\"keep_alive\":1e10", "keep_alive"),
        ("\"model\":\"\"", "model"), ("\"model\":3", "model"), ("\"metadata\":[]", "metadata"),
        ("\"tools\":[{}]", "tools[0].type"), ("\"tools\":[1]", "tools[0]"),
        (
            "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]",
            "tools[0].function.name"
        ),
        ("\"tool_choice\":\"required\"", "tool_choice"),
        ("\"tool_choice\":\"some\"", "tool_choice"),
        ("\"tool_choice\":{\"type\":\"function\"}", "tool_choice"),
        ("\"response_format\":{\"type\":\"json_object\"}", "response_format.type"),
        ("\"response_format\":{}", "response_format.type"), ("\"grammar\":\"x\"", "grammar"),
        ("\"structured_outputs\":{}", "structured_outputs"),
        (
            "\"add_generation_prompt\":true,\"continue_final_message\":true",
            "continue_final_message"
        ),
    ])
    func `a wrong field is a 400 that names it`(_ members: String, _ param: String) throws {
        let error = try #require(try refusal { try chat(with: members) })
        #expect(error.status == 400)
        #expect(error.type == .invalidRequest)
        #expect(error.param == param)
        #expect(error.message.utf8.count < 300)
    }

    @Test(arguments: [
        ("{}", "messages"), ("{\"messages\":null}", "messages"), ("{\"messages\":[]}", "messages"),
        ("{\"messages\":\"hi\"}", "messages"), ("{\"messages\":[\"hi\"]}", "messages[0]"),
        ("{\"messages\":[{}]}", "messages[0].role"),
        (
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"wizard\",\"content\":\"a\"}]}",
            "messages[1].role"
        ),
        ("{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content"),
        ("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages[0].content"),
        ("{\"messages\":[{\"role\":\"user\",\"content\":1}]}", "messages[0].content"),
        ("{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "messages[0].content"),
        ("{\"messages\":[{\"role\":\"user\",\"content\":[\"a\"]}]}", "messages[0].content[0]"),
        (
            "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
            "messages[0].content[0].text"
        ),
        (
            "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"hologram\"}]}]}",
            "messages[0].content[0].type"
        ),
        (
            "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}",
            "messages[0].content[0].image_url.url"
        ),
        (
            "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}",
            "messages[0].tool_calls[0].function.name"
        ),
        (
            "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":3}}]}]}",
            "messages[0].tool_calls[0].function.arguments"
        ),
    ])
    func `a wrong message is named by its path`(_ body: String, _ param: String) throws {
        let error = try #require(try refusal { try chat(body) })
        #expect(error.status == 400)
        #expect(error.param == param)
    }

    @Test func `a body that is no object is refused`() throws {
        for body in ["[]", "null", "3", "\"x\""] {
            let error = try #require(try refusal { try chat(body) })
            #expect(error.status == 400)
        }
    }

    @Test func `counts are bounded`() throws {
        let stops = (0..<10_000).map { "\"\($0)\"" }.joined(separator: ",")
        #expect(try refusal { try chat(with: "\"stop\":[\(stops)]") }?.param == "stop")
        let long = String(repeating: "x", count: 1025)
        #expect(try refusal { try chat(with: "\"stop\":\"\(long)\"") }?.param == "stop")
        let bias = (0..<1025).map { "\"\($0)\":1" }.joined(separator: ",")
        #expect(try refusal { try chat(with: "\"logit_bias\":{\(bias)}") }?.param == "logit_bias")
        let message = "{\"role\":\"user\",\"content\":\"a\"}"
        let many = Array(repeating: message, count: 4097).joined(separator: ",")
        #expect(try refusal { try chat("{\"messages\":[\(many)]}") }?.param == "messages")
    }

    @Test func `errors never carry much of the input`() throws {
        let long = String(repeating: "\\u0007é", count: 100_000)
        let error = try #require(
            try refusal { try chat("{\"messages\":[{\"role\":\"\(long)\",\"content\":\"a\"}]}") }
        )
        #expect(error.message.utf8.count < 400)
        #expect(!error.message.unicodeScalars.contains { $0.value < 0x20 })
    }

    @Test func `logprobs count from zero`() throws {
        #expect(try chat(with: "\"logprobs\":true").logprobs == 0)
        #expect(try chat(with: "\"logprobs\":true,\"top_logprobs\":3").logprobs == 3)
        #expect(try chat(with: "\"logprobs\":false").logprobs == nil)
    }

    @Test func `keep alive is seconds, rounded up`() throws {
        #expect(try chat(with: "\"keep_alive\":0").options.keepAlive == .seconds(0))
        #expect(try chat(with: "\"keep_alive\":0.2").options.keepAlive == .seconds(1))
        #expect(try chat(with: "\"keep_alive\":30").options.keepAlive == .seconds(30))
    }

    @Test func `tools are withheld from the template when none may be called`() throws {
        let tools = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
        #expect(try chat(with: "\(tools),\"tool_choice\":\"none\"").conversation.tools.isEmpty)
        #expect(try chat(with: tools).conversation.tools.count == 1)
    }

    @Test func `token ids are checked against the vocabulary`() throws {
        let options = try chat(with: "\"logit_bias\":{\"9\":1},\"top_k\":10").options
        try options.check(vocabularySize: 10)
        #expect(try refusal { try options.check(vocabularySize: 9) }?.param == "top_k")
        let bias = try chat(with: "\"logit_bias\":{\"9\":1}").options
        #expect(try refusal { try bias.check(vocabularySize: 9) }?.param == "logit_bias")
    }

    @Test func `a message becomes what templates expect`() throws {
        let request = try chat(
            """
            {"messages":[{"role":"developer","content":[{"type":"text","text":"a"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function",
            "function":{"name":"f","arguments":"{\\"b\\":1,\\"a\\":2}"}},
            {"id":"2","type":"function","function":{"name":"g","arguments":"{broken"}}]}]}
            """
        )
        let messages = request.conversation.messages
        #expect(messages[0].templateValue().text() == #"{"role":"system","content":"a"}"#)
        #expect(
            messages[0].templateValue(keepParts: true, developerAsSystem: false).text()
                == #"{"role":"developer","content":[{"type":"text","text":"a"}]}"#
        )
        #expect(
            messages[1].templateValue().text()
                == #"{"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function","#
                + #""function":{"name":"f","arguments":{"b":1,"a":2}}},{"id":"2","#
                + #""type":"function","function":{"name":"g","arguments":"{broken"}}]}"#
        )
    }
}
