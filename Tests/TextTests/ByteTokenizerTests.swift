import Testing
import Text

@Suite struct ByteTokenizerTests {
    @Test func `each byte of UTF-8 is the token of its value`() {
        let tokenizer = Tokenizer.bytes()
        #expect(tokenizer.vocabularySize == 256)
        for text in ["", "Once upon a time,\n\tü € 🙂 \0", "<|im_end|></s>", " a\u{301} á"] {
            let ids = tokenizer.encode(text, addSpecialTokens: true)
            #expect(ids == text.utf8.map { Int32($0) })
            #expect(tokenizer.decode(ids, skipSpecialTokens: true) == text)
        }
    }

    @Test func `bytes stream as whole characters, and what is none as U+FFFD`() {
        var detokenizer = Detokenizer(tokenizer: .bytes(), skipSpecialTokens: true)
        var pieces = "aü🙂".utf8.map { detokenizer.append(Int32($0)) }
        pieces.append(detokenizer.append(0xFF) + detokenizer.append(0x41) + detokenizer.finish())
        #expect(pieces == ["a", "", "ü", "", "", "", "🙂", "\u{FFFD}A"])
    }

    @Test(.timeLimit(.minutes(1))) func `a megabyte without a word boundary takes linear time`() {
        let text = String(repeating: "abcd", count: 1 << 18)
        #expect(Tokenizer.bytes().encode(text, addSpecialTokens: false).count == 1 << 20)
    }
}
