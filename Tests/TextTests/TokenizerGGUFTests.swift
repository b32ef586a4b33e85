import JSON
import Testing
import Text

@Suite struct TokenizerGGUFTests {
    /// The metadata that a GGUF file of a tokenizer file's model would have.
    private static func vocabulary(of name: String, pre: String) throws -> GGUFVocabulary {
        let root = try TokenizerFixtures.json(name)
        let whole = try TokenizerFixtures.tokenizer(name)
        let added = Set(whole.addedTokens.map { $0.id })
        let ids = 0..<Int32(whole.vocabularySize)
        return GGUFVocabulary(
            model: "gpt2",
            pre: pre,
            tokens: ids.map { whole.token(of: $0) ?? "[unused\($0)]" },
            merges: (root["model"]?["merges"]?.array ?? []).map {
                ($0.array ?? []).compactMap { $0.string }.joined(separator: " ")
            },
            tokenTypes: ids.map {
                added.contains($0)
                    ? (whole.isSpecial($0) ? 3 : 4) : whole.token(of: $0) == nil ? 5 : 1
            }
        )
    }

    @Test(arguments: [("tiny-qwen2.json", "qwen2"), ("smollm2-excerpt.json", "smollm")])
    func `metadata gives the tokens of the tokenizer file`(_ file: String, _ pre: String) throws {
        let whole = try TokenizerFixtures.tokenizer(file)
        let tokenizer = try Tokenizer(gguf: try Self.vocabulary(of: file, pre: pre))
        for text in TokenizerFixtures.texts(300, seed: 5, pieces: ["<|im_start|>", "<tool_call>"]) {
            let ids = whole.encode(text, addSpecialTokens: true)
            #expect(tokenizer.encode(text, addSpecialTokens: true) == ids)
            #expect(
                tokenizer.decode(ids, skipSpecialTokens: true)
                    == whole.decode(ids, skipSpecialTokens: true)
            )
        }
    }

    @Test func `a Llama 3 vocabulary begins with its BOS unless the file says no`() throws {
        var gguf = GGUFVocabulary(
            model: "gpt2",
            pre: "llama-bpe",
            tokens: ["1", "2", "12", "123", "<b>"],
            merges: ["1 2"],
            tokenTypes: [1, 1, 1, 1, 3]
        )
        gguf.bos = 4
        #expect(try Tokenizer(gguf: gguf).encode("123", addSpecialTokens: true) == [4, 3])
        gguf.addBOS = false
        #expect(try Tokenizer(gguf: gguf).encode("1212", addSpecialTokens: true) == [2, 0, 1])
    }

    @Test func `SentencePiece merges by score and falls back to bytes`() throws {
        let tokens =
            ["<unk>", "<s>", "</s>"]
            + (0...255).map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return "<0x\(digits.count < 2 ? "0" : "")\(digits)>"
            } + ["▁", "a", "b", "▁a", "ab", "▁ab"]
        var gguf = GGUFVocabulary(
            model: "llama",
            pre: "",
            tokens: tokens,
            merges: [],
            tokenTypes: [2, 3, 3] + [Int32](repeating: 6, count: 256)
                + [Int32](repeating: 1, count: 6)
        )
        gguf.scores = [Float](repeating: 0, count: 259) + [-9, -9, -9, -3, -2, -5]
        gguf.bos = 1
        gguf.unknown = 0
        let tokenizer = try Tokenizer(gguf: gguf)
        // "ab" has the higher score, so that "▁a" is not made first.
        #expect(tokenizer.encode("ab a", addSpecialTokens: true) == [1, 264, 262])
        let ids = tokenizer.encode("é</s>", addSpecialTokens: false)
        #expect(ids == [259, 3 + 0xC3, 3 + 0xA9, 2])
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == "é")
        #expect(tokenizer.decode([262, 262], skipSpecialTokens: true) == "a a")
        #expect(tokenizer.bytes(of: 262) == Array(" a".utf8))
        #expect(tokenizer.bytes(of: 3 + 0xC3) == [0xC3])
    }

    @Test(arguments: [
        ("gpt2", "no-such-pre", "unsupported tokenizer.ggml.pre: no-such-pre"),
        ("bert", "default", "unsupported tokenizer.ggml.model: bert"),
        ("llama", "", "2 tokens but 0 scores"),
    ])
    func `unknown kinds are refused by name`(_ model: String, _ pre: String, _ reason: String) {
        let gguf = GGUFVocabulary(
            model: model,
            pre: pre,
            tokens: ["a", "b"],
            merges: [],
            tokenTypes: [1, 1]
        )
        let error = #expect(throws: TokenizerError.self) { try Tokenizer(gguf: gguf) }
        #expect(error?.description.contains(reason) == true)
    }

    @Test(arguments: [
        "", "default", "gpt-2", "mpt", "tekken", "gpt-4o", "llama4", "deepseek-v3",
        "deepseek-coder",
        "qwen35", "command-r", "starcoder", "dbrx", "stablelm2",
    ])
    func `every known pre-tokenizer loses no text`(_ pre: String) throws {
        var gguf = try Self.vocabulary(of: "tiny-qwen2.json", pre: pre)
        gguf.addBOS = false
        let tokenizer = try Tokenizer(gguf: gguf)
        for text in TokenizerFixtures.texts(60, seed: 6) {
            let ids = tokenizer.encode(text, addSpecialTokens: true)
            // Swift compares by canonical equivalence, which composition keeps.
            #expect(tokenizer.decode(ids, skipSpecialTokens: false) == text)
        }
    }
}
