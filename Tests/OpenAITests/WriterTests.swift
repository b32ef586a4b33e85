import JSON
import OpenAI
import Testing

@Suite struct WriterTests {
    private let head = ResponseHead(
        id: "chatcmpl-1",
        created: 1_700_000_000,
        model: "org/\"m\"",
        systemFingerprint: "fp"
    )
    private let entry = LogprobEntry(
        token: .init(bytes: Array("é\n".utf8), logprob: -0.5),
        top: [
            .init(bytes: Array("é\n".utf8), logprob: -0.5),
            .init(bytes: [0xC3], logprob: -.infinity),
        ],
        textOffset: 3
    )

    private func written(_ write: (inout [UInt8]) -> Void) throws -> String {
        var output: [UInt8] = []
        write(&output)
        #expect(!output.contains(0x0A))
        return try JSONValue.parse(output).text()
    }

    private func start(_ object: String) -> String {
        #"{"id":"chatcmpl-1","object":"\#(object)","created":1700000000,"#
            + #""model":"org/\"m\"","system_fingerprint":"fp","choices":["#
    }

    @Test func `chat chunks have OpenAI's shape`() throws {
        let writer = ChatWriter(head)
        let start = start("chat.completion.chunk")
        #expect(
            try written { writer.appendRole(choice: 1, to: &$0) }
                == start + #"{"index":1,"delta":{"role":"assistant","content":""},"#
                + #""logprobs":null,"finish_reason":null}]}"#
        )
        #expect(
            try written { writer.appendText(choice: 0, text: "a\"\n\u{1}é", to: &$0) }
                == start + #"{"index":0,"delta":{"content":"a\"\n\u0001é"},"#
                + #""logprobs":null,"finish_reason":null}]}"#
        )
        #expect(
            try written { writer.appendFinish(choice: 0, reason: .length, to: &$0) }
                == start + #"{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#
        )
        #expect(
            try written {
                writer.appendUsage(
                    Usage(promptTokens: 3, completionTokens: 4, cachedTokens: 2),
                    to: &$0
                )
            } == start + #"],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"#
                + #""prompt_tokens_details":{"cached_tokens":2},"#
                + #""completion_tokens_details":{"reasoning_tokens":0}}}"#
        )
    }

    @Test func `chunks before the usage chunk say that theirs is null`() throws {
        let chat = ChatWriter(head, includeUsage: true)
        let text = CompletionWriter(head, includeUsage: true)
        #expect(
            try written { chat.appendText(choice: 0, text: "a", to: &$0) }.hasSuffix(
                #""usage":null}"#
            )
        )
        #expect(
            try written { chat.appendFinish(choice: 0, reason: .stop, to: &$0) }
                .hasSuffix(#""usage":null}"#)
        )
        #expect(
            try written { text.appendText(choice: 0, text: "a", to: &$0) }.hasSuffix(
                #""usage":null}"#
            )
        )
    }

    @Test func `chat logprobs carry text, bytes and rivals`() throws {
        let writer = ChatWriter(head)
        let chunk = try JSONValue.parse(
            try written { writer.appendText(choice: 0, text: "é\n", logprobs: [entry], to: &$0) }
        )
        #expect(
            chunk["choices"]?.array?.first?["logprobs"]?.text()
                == #"{"content":[{"token":"é\n","logprob":-0.5,"bytes":[195,169,10],"top_logprobs":["#
                + #"{"token":"é\n","logprob":-0.5,"bytes":[195,169,10]},"#
                + "{\"token\":\"\u{FFFD}\",\"logprob\":-9999.0,\"bytes\":[195]}]}],\"refusal\":null}"
        )
    }

    @Test func `a whole chat answer has OpenAI's shape`() throws {
        let writer = ChatWriter(head)
        let text = try written {
            writer.appendWhole(
                [
                    AnsweredChoice(index: 0, text: "a", finish: .stop),
                    AnsweredChoice(index: 1, text: "", finish: .length, logprobs: []),
                ],
                usage: Usage(promptTokens: 1, completionTokens: 2),
                timings: Timings(queue: 0.5, load: 0, prefill: 0.25, decode: 1),
                to: &$0
            )
        }
        #expect(
            text == start("chat.completion")
                + #"{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"#
                + #""logprobs":null,"finish_reason":"stop"},"#
                + #"{"index":1,"message":{"role":"assistant","content":"","refusal":null},"#
                + #""logprobs":{"content":[],"refusal":null},"finish_reason":"length"}],"#
                + #""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"#
                + #""prompt_tokens_details":{"cached_tokens":0},"#
                + #""completion_tokens_details":{"reasoning_tokens":0}},"#
                + #""timings":{"queue_seconds":0.5,"load_seconds":0.0,"prefill_seconds":0.25,"#
                + #""decode_seconds":1.0,"cached_tokens":0}}"#
        )
    }

    @Test func `text completions have OpenAI's shape, streamed and whole`() throws {
        let writer = CompletionWriter(head)
        let start = start("text_completion")
        #expect(
            try written { writer.appendText(choice: 2, text: "a", logprobs: [entry], to: &$0) }
                == start + #"{"index":2,"text":"a","logprobs":{"tokens":["é\n"],"#
                + #""token_logprobs":[-0.5],"top_logprobs":[{"é\n":-0.5,"#
                + "\"\u{FFFD}\":-9999.0}],\"text_offset\":[3]},\"finish_reason\":null}]}"
        )
        #expect(
            try written { writer.appendFinish(choice: 0, reason: .stop, to: &$0) }
                == start + #"{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]}"#
        )
        #expect(
            try written {
                writer.appendWhole(
                    [AnsweredChoice(index: 0, text: "b", finish: .stop)],
                    usage: Usage(promptTokens: 1, completionTokens: 1),
                    to: &$0
                )
            }.hasPrefix(start + #"{"index":0,"text":"b","logprobs":null,"finish_reason":"stop"}],"#)
        )
        #expect(
            try written {
                writer.appendUsage(Usage(promptTokens: 1, completionTokens: 1), to: &$0)
            }.hasPrefix(start + #"],"usage":{"#)
        )
    }

    @Test func `models are listed in order`() throws {
        let model = ModelObject(id: "org/a", created: 5, ownedBy: "huggingface")
        #expect(
            try written { ModelObject.append(list: [model, model], to: &$0) }
                == #"{"object":"list","data":[{"id":"org/a","object":"model","created":5,"#
                + #""owned_by":"huggingface"},{"id":"org/a","object":"model","created":5,"#
                + #""owned_by":"huggingface"}]}"#
        )
        #expect(
            try written { ModelObject.append(list: [], to: &$0) } == #"{"object":"list","data":[]}"#
        )
    }

    @Test func `events are framed with their session and index`() {
        var output: [UInt8] = []
        ServerSentEvents.append(session: "s", index: 3, to: &output) { $0 += "{}".utf8 }
        ServerSentEvents.appendComment("loading\n43%", to: &output)
        ServerSentEvents.appendDone(to: &output)
        #expect(
            String(decoding: output, as: UTF8.self)
                == "id: s:3\ndata: {}\n\n: loading 43%\ndata: [DONE]\n\n"
        )
        #expect(ServerSentEvents.heartbeat == Array(": ping\n".utf8))
    }

    @Test func `the last event's id is read strictly`() {
        func index(_ text: String) -> Int? {
            ServerSentEvents.index(ofLastEvent: text, session: "s")
        }
        #expect(index("s:0") == 0)
        #expect(index("s:41") == 41)
        #expect(index("41") == 41)
        for text in ["", "s", "s:", "t:1", "s:-1", "s:+1", "s:1:2", "s:99999999999999999999"] {
            #expect(index(text) == nil)
        }
    }
}
