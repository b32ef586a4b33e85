import JSON
import OpenAI
import Testing

/// Every field with every kind of value, and whole requests with random wounds: the decoder answers
/// or refuses with a 400, and never traps.
@Suite struct TypeSwapTests {
    static let values: [String] = [
        "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "2", "0.5", "1.5", "16", "17",
        "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "-9223372036854775809", "1e308", "-1e308", "1e999", "-1e999",
        "5e-324", "\"\"", "\"a\"", "\"NaN\"", "\"1\"", "[]", "[null]", "[1]", "[-1]", "[1e999]",
        "[\"a\"]", "[[]]", "[[1]]", "[{}]", "{}", "{\"a\":1}", "{\"1\":1e999}", "{\"1\":null}",
        "{\"type\":\"function\"}", "{\"type\":[]}", "{\"include_usage\":[]}",
        "[[[[[[{\"a\":[{}]}]]]]]]",
    ]
    static let fields = [
        "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "min_tokens",
        "temperature", "top_p", "top_k", "min_p", "n", "best_of", "seed", "stop",
        "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs",
        "top_logprobs", "stream", "stream_options", "response_format", "tools", "tool_choice",
        "parallel_tool_calls", "reasoning_effort", "chat_template_kwargs", "chat_template", "user",
        "metadata", "session_id", "keep_alive", "ignore_eos", "timings", "add_generation_prompt",
        "continue_final_message", "echo", "suffix", "structured_outputs", "regex", "grammar",
        "functions", "function_call", "modalities", "audio", "prompt_embeds", "tokens",
        "add_special_tokens",
    ]

    /// Every kind of request either reads the body or refuses it in the catalogue's form.
    private func check(_ body: JSONValue) throws {
        let refusals = [
            try refusal { try ChatCompletionRequest.decode(body) },
            try refusal { try CompletionRequest.decode(body) },
            try refusal { try TokenizeRequest.decode(body) },
            try refusal { try DetokenizeRequest.decode(body) },
        ]
        for error in refusals.compactMap(\.self) {
            #expect(error.status == 400)
            #expect(error.message.utf8.count < 400)
            #expect((try? JSONValue.parse(error.body))?["error"]?.object?.count == 4)
        }
    }

    @Test(arguments: fields) func `a field of the wrong type is named`(_ field: String) throws {
        let chat: JSONValue = ["messages": [["role": "user", "content": "a"]], "stream": true]
        let completion: JSONValue = ["prompt": "a", "stream": true]
        for value in Self.values {
            for base in [chat, completion] {
                var object = try #require(base.object)
                object[field] = try JSONValue.parse(value)
                try check(.object(object))
                let error =
                    try base == chat
                    ? refusal { try ChatCompletionRequest.decode(.object(object)) }
                    : refusal { try CompletionRequest.decode(.object(object)) }
                #expect(error == nil || error?.param?.hasPrefix(field) == true)
            }
        }
    }

    @Test(arguments: [
        "role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "reasoning",
        "audio",
    ])
    func `a member of a message of the wrong type is named`(_ field: String) throws {
        for role in ["user", "assistant", "tool"] {
            for value in Self.values {
                var message = JSONObject([("role", .string(role)), ("content", "a")])
                message[field] = try JSONValue.parse(value)
                let body: JSONValue = ["messages": [.object(message)]]
                let error = try refusal { try ChatCompletionRequest.decode(body) }
                if let error {
                    #expect(error.status == 400)
                    #expect(error.param?.hasPrefix("messages[0].\(field)") == true)
                }
            }
        }
    }

    @Test func `random wounds never trap`() throws {
        let whole = try JSONValue.parse(
            """
            {"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":
            {"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"3"}],
            "prompt":[[1,2],"a"],"tokens":[1],"max_tokens":5,"temperature":0.5,"top_p":0.5,"n":2,
            "seed":5,"stop":["a"],"logit_bias":{"7":1},"logprobs":true,"stream":true,
            "stream_options":{"include_usage":true},"tools":[{"type":"function","function":
            {"name":"f","parameters":{}}}],"chat_template_kwargs":{"enable_thinking":true}}
            """
        )
        var random = SplitMix(state: 7)
        let values = try Self.values.map { try JSONValue.parse($0) }
        for _ in 0..<3000 {
            var body = whole
            for _ in 0...random.below(3) { body = wound(body, values, &random) }
            try check(body)
        }
    }

    private func wound(_ value: JSONValue, _ values: [JSONValue], _ random: inout SplitMix)
        -> JSONValue
    {
        switch value {
        case .array(var elements) where !elements.isEmpty && random.below(5) > 0:
            let place = random.below(elements.count)
            elements[place] = wound(elements[place], values, &random)
            return .array(elements)
        case .object(var object) where !object.isEmpty && random.below(8) > 0:
            let key = object.keys[random.below(object.count)]
            let old = object[key] ?? .null
            object[key] = random.below(10) == 0 ? nil : wound(old, values, &random)
            return .object(object)
        default: return values[random.below(values.count)]
        }
    }
}

/// A small generator, so that a failure can be repeated.
struct SplitMix {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ mixed >> 31) % UInt64(bound))
    }
}
