import Testing
import Text

@Suite struct TokenizerStreamTests {
    @Test(arguments: ["tiny-qwen2.json", "smollm2-excerpt.json"])
    func `streams of any tokens join to the decoded text`(_ file: String) throws {
        let tokenizer = try TokenizerFixtures.tokenizer(file)
        var random = TokenizerFixtures.Random(state: 3)
        // Low ids are single bytes: most sequences are broken UTF-8.
        for _ in 0..<2000 {
            let ids = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                Int32.random(in: -1...300, using: &random)
            }
            for skip in [false, true] {
                var detokenizer = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: skip)
                let joined = ids.map { detokenizer.append($0) }.joined() + detokenizer.finish()
                #expect(joined == tokenizer.decode(ids, skipSpecialTokens: skip))
            }
            let bytes = ids.flatMap { tokenizer.bytes(of: $0) }
            #expect(
                tokenizer.decode(ids, skipSpecialTokens: false)
                    == String(decoding: bytes, as: UTF8.self)
            )
        }
    }

    @Test func `a character is given out when its last byte has come`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let bytes = Array("é😀".utf8)
        let ids = try bytes.map { byte in
            try #require(
                (0..<Int32(256)).first { tokenizer.bytes(of: $0) == [byte] }
            )
        }
        var detokenizer = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(ids.map { detokenizer.append($0) } == ["", "é", "", "", "", "😀"])
        #expect(detokenizer.finish() == "")
        var cut = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(ids.dropLast().map { cut.append($0) } == ["", "é", "", "", ""])
        #expect(cut.finish() == "\u{FFFD}")
    }

    @Test func `skipped and unknown tokens give no text`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let end = try #require(tokenizer.id(of: "<|im_end|>"))
        var shown = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: false)
        var hidden = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(shown.append(end) == "<|im_end|>")
        #expect(hidden.append(end) == "")
        for id in [-1, Int32.min, Int32.max, Int32(tokenizer.vocabularySize)] {
            #expect(shown.append(id) == "")
            #expect(tokenizer.token(of: id) == nil)
            #expect(tokenizer.bytes(of: id).isEmpty)
        }
    }
}
