import JSON
import OpenAI
import Testing

@Suite struct CompletionRequestTests {
    @Test func `a prompt is text, tokens, or a list of either`() throws {
        #expect(try completion(#"{"prompt":"a"}"#).prompts == [.text("a")])
        #expect(try completion(#"{"prompt":""}"#).prompts == [.text("")])
        #expect(try completion(#"{"prompt":[1,2]}"#).prompts == [.tokens([1, 2])])
        #expect(try completion(#"{"prompt":["a","b"]}"#).prompts == [.text("a"), .text("b")])
        #expect(
            try completion(#"{"prompt":[[1],[2,3]]}"#).prompts == [.tokens([1]), .tokens([2, 3])]
        )
        #expect(try completion(#"{"prompt":["a",[2]]}"#).prompts == [.text("a"), .tokens([2])])
    }

    @Test(arguments: [
        (#"{}"#, "prompt"), (#"{"prompt":null}"#, "prompt"), (#"{"prompt":[]}"#, "prompt"),
        (#"{"prompt":{}}"#, "prompt"), (#"{"prompt":1}"#, "prompt"),
        (#"{"prompt":[[]]}"#, "prompt[0]"),
        (#"{"prompt":[1,"a"]}"#, "prompt[1]"), (#"{"prompt":[1,-1]}"#, "prompt[1]"),
        (#"{"prompt":[1,2147483648]}"#, "prompt[1]"), (#"{"prompt":[0.5]}"#, "prompt[0]"),
        (#"{"prompt":[true]}"#, "prompt[0]"), (#"{"prompt":[[1],[1e300]]}"#, "prompt[1][0]"),
        (#"{"prompt":"a","max_tokens":0}"#, "max_tokens"),
        (#"{"prompt":"a","best_of":2}"#, "best_of"),
        (#"{"prompt":"a","best_of":"2"}"#, "best_of"), (#"{"prompt":"a","suffix":"x"}"#, "suffix"),
        (#"{"prompt":"a","logprobs":21}"#, "logprobs"),
        (#"{"prompt":"a","logprobs":true}"#, "logprobs"),
        (#"{"prompt":"a","echo":true,"logprobs":1}"#, "logprobs"),
        (#"{"prompt":"a","echo":1}"#, "echo"),
    ])
    func `a wrong field is a 400 that names it`(_ body: String, _ param: String) throws {
        let error = try #require(try refusal { try completion(body) })
        #expect(error.status == 400)
        #expect(error.param == param)
    }

    @Test func `the number of prompts is bounded`() throws {
        let many = Array(repeating: "\"a\"", count: 65).joined(separator: ",")
        #expect(try refusal { try completion("{\"prompt\":[\(many)]}") }?.param == "prompt")
        let body =
            "{\"n\":16,\"prompt\":[\(Array(repeating: "\"a\"", count: 9).joined(separator: ","))]}"
        #expect(try refusal { try completion(body) }?.param == "n")
    }

    @Test func `echo alone may ask for no tokens`() throws {
        let request = try completion(
            #"{"prompt":"a","echo":true,"max_tokens":0,"n":2,"best_of":2}"#
        )
        #expect(request.options.maxTokens == 0)
        #expect(request.echo)
    }

    @Test func `token prompts are checked against the vocabulary`() throws {
        let request = try completion(#"{"prompt":[[1],[5]]}"#)
        try request.check(vocabularySize: 6)
        #expect(try refusal { try request.check(vocabularySize: 5) }?.param == "prompt")
    }

    @Test func `tokenize takes text or a conversation`() throws {
        let text = try TokenizeRequest.decode(["prompt": "a", "add_special_tokens": false])
        #expect(text.input == .text("a"))
        #expect(text.addSpecialTokens == false)
        let message: JSONValue = ["role": "user", "content": "a"]
        let messages = try TokenizeRequest.decode(["messages": [message]])
        guard case .conversation(let conversation) = messages.input else {
            Issue.record("not read as a conversation")
            return
        }
        #expect(conversation.messages.map(\.text) == ["a"])
        #expect(try refusal { try TokenizeRequest.decode([:]) }?.param == "prompt")
        #expect(
            try refusal { try TokenizeRequest.decode(["prompt": "a", "messages": [message]]) }?
                .param
                == "prompt"
        )
    }

    @Test func `detokenize takes ids of the vocabulary`() throws {
        let request = try DetokenizeRequest.decode(["tokens": [0, 3]])
        #expect(request.tokens == [0, 3])
        #expect(try refusal { try request.check(vocabularySize: 3) }?.param == "tokens")
        #expect(try refusal { try DetokenizeRequest.decode([:]) }?.param == "tokens")
        #expect(
            try refusal { try DetokenizeRequest.decode(["tokens": ["a"]]) }?.param == "tokens[0]"
        )
        #expect(try DetokenizeRequest.decode(["tokens": []]).tokens.isEmpty)
    }
}
