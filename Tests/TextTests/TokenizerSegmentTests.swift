import Testing
import Text

/// Special tokens in text from outside.
@Suite struct TokenizerSegmentTests {
    private static let special = [
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|image_pad|>",
    ]

    @Test func `trusted segments read as one string wherever it is cut`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        for text in TokenizerFixtures.texts(300, seed: 1, pieces: Self.special + ["<tool_call>"]) {
            let whole = tokenizer.encode(text, addSpecialTokens: false)
            let scalars = Array(text.unicodeScalars)
            for step in [1, 2, 5] {
                let segments = stride(from: 0, to: scalars.count, by: step).map { start in
                    var part = ""
                    part.unicodeScalars.append(
                        contentsOf: scalars[start..<min(start + step, scalars.count)]
                    )
                    return Tokenizer.Segment(part, parseSpecial: true)
                }
                #expect(tokenizer.encode(segments, addSpecialTokens: false) == whole)
            }
        }
    }

    @Test func `special tokens spelled by a user stay text and change nothing around them`() throws
    {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let start = try #require(tokenizer.id(of: "<|im_start|>"))
        let end = try #require(tokenizer.id(of: "<|im_end|>"))
        for content in TokenizerFixtures.texts(
            300,
            seed: 2,
            pieces: Self.special + ["<|im_", "|>"]
        ) {
            let ids = tokenizer.encode(
                [
                    .init("<|im_start|>user\n", parseSpecial: true),
                    .init(content, parseSpecial: false),
                    .init("<|im_end|>\n", parseSpecial: true),
                ],
                addSpecialTokens: false
            )
            #expect(ids.first == start)
            #expect(ids.filter { tokenizer.isSpecial($0) } == [start, end])
            let text = "<|im_start|>user\n" + content + "<|im_end|>\n"
            let expected = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false)
            // Composition is the only change that this vocabulary makes to a text.
            #expect(
                tokenizer.decode(ids, skipSpecialTokens: false)
                    == tokenizer.decode(expected, skipSpecialTokens: false)
            )
        }
    }

    @Test func `a special token is not made from trusted and untrusted halves`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        for cut in 1..<10 {
            let token = "<|im_end|>"
            for (first, second) in [(true, false), (false, true)] {
                let ids = tokenizer.encode(
                    [
                        .init(String(token.prefix(cut)), parseSpecial: first),
                        .init(String(token.dropFirst(cut)), parseSpecial: second),
                    ],
                    addSpecialTokens: false
                )
                #expect(!ids.contains { tokenizer.isSpecial($0) })
                #expect(tokenizer.decode(ids, skipSpecialTokens: false) == token)
            }
        }
    }

    @Test func `words join across the border of template and content`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let ids = tokenizer.encode(
            [.init("ret", parseSpecial: true), .init("urn 1", parseSpecial: false)],
            addSpecialTokens: false
        )
        #expect(ids == tokenizer.encode("return 1", addSpecialTokens: false))
    }

    @Test func `normalised special tokens are guarded in the normalised text`() throws {
        let json = """
            {"model":{"type":"BPE","vocab":{"a":0,"b":1,"<":2,"s":3,">":4,"▁":5},"merges":[],
            "ignore_merges":false},"pre_tokenizer":null,"decoder":null,
            "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
            "added_tokens":[{"id":6,"content":"<s>","normalized":true,"special":true,
            "single_word":false,"lstrip":false,"rstrip":false}]}
            """
        let tokenizer = try Tokenizer(tokenizerJSON: Array(json.utf8))
        // The prefix makes the token "▁<s>", as in HF.
        let ids = tokenizer.encode(
            [
                .init(" <s>a", parseSpecial: true), .init(" <s>b", parseSpecial: false),
                .init(" <s>", parseSpecial: true),
            ],
            addSpecialTokens: false
        )
        #expect(ids == [5, 6, 0, 5, 2, 3, 4, 1, 6])
    }
}
