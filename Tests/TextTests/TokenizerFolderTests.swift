import JSON
import Testing
import Text

@Suite struct TokenizerFolderTests {
    /// `vocab.json` and `merges.txt` of a tokenizer file.
    private static func files(of name: String) throws -> (vocabulary: String, merges: String) {
        let model = try #require(try TokenizerFixtures.json(name)["model"])
        let merges = (model["merges"]?.array ?? []).map {
            ($0.array ?? []).compactMap { $0.string }.joined(separator: " ")
        }
        return (
            (model["vocab"] ?? .null).text(),
            "#version: 0.2\n" + merges.joined(separator: "\n") + "\n"
        )
    }

    @Test func `vocab and merges of a Qwen2 model equal its tokenizer file`() throws {
        let whole = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let (vocabulary, merges) = try Self.files(of: "tiny-qwen2.json")
        var tokens = JSONObject()
        for token in whole.addedTokens {
            tokens[String(token.id)] = [
                "content": .string(String(decoding: token.content, as: UTF8.self)),
                "lstrip": false, "rstrip": false, "normalized": false, "single_word": false,
                "special": .bool(token.special),
            ]
        }
        let config: JSONValue = [
            "tokenizer_class": "Qwen2TokenizerFast", "added_tokens_decoder": .object(tokens),
        ]
        try TokenizerFixtures.withFolder([
            "vocab.json": vocabulary, "merges.txt": merges, "tokenizer_config.json": config.text(),
        ]) { folder in
            let tokenizer = try Tokenizer.load(folder: folder)
            #expect(tokenizer.fingerprint == whole.fingerprint)
            #expect(tokenizer.vocabularySize == whole.vocabularySize)
            for text in TokenizerFixtures.texts(200, seed: 4, pieces: ["<|im_start|>", "<think>"]) {
                #expect(
                    tokenizer.encode(text, addSpecialTokens: true)
                        == whole.encode(text, addSpecialTokens: true)
                )
            }
        }
    }

    @Test func `a GPT-2 folder marks the special tokens of its map`() throws {
        try TokenizerFixtures.withFolder([
            "vocab.json": #"{"a":0,"b":1,"ab":2,"Ġ":3,"<":4,"|":5,">":6,"e":7,"<|e|>":8}"#,
            "merges.txt": "#version: 0.2\na b\n",
            "tokenizer_config.json":
                #"{"tokenizer_class":"GPT2Tokenizer","bos_token":"<|e|>","add_bos_token":true}"#,
            "special_tokens_map.json": #"{"eos_token":{"content":"<|e|>"}}"#,
        ]) { folder in
            let tokenizer = try Tokenizer.load(folder: folder)
            #expect(tokenizer.encode("ab b<|e|>", addSpecialTokens: true) == [8, 2, 3, 1, 8])
            #expect(
                tokenizer.encode("<|e|>", addSpecialTokens: false, parseSpecial: false)
                    == [4, 5, 7, 5, 6]
            )
            #expect(tokenizer.isSpecial(8) && !tokenizer.isSpecial(2))
        }
    }

    @Test func `flags of the configuration count`() throws {
        let name = "smollm2-excerpt.json"
        let file = String(decoding: try TokenizerFixtures.bytes(name), as: UTF8.self)
        try TokenizerFixtures.withFolder([
            "tokenizer.json": file,
            "tokenizer_config.json":
                #"{"added_tokens_decoder":{"2":{"content":"<|im_end|>","lstrip":true,"special":true},"#
                + #""49152":{"content":"<new>","special":false,"normalized":false}}}"#,
        ]) { folder in
            let tokenizer = try Tokenizer.load(folder: folder)
            #expect(tokenizer.encode("  <|im_end|><new>", addSpecialTokens: false) == [2, 49152])
        }
    }

    @Test(arguments: [
        ("{}", "model.vocab or model.merges is missing"),
        ("[", "not JSON"),
        (#"{"model":{"type":"Unigram","vocab":[],"merges":[]}}"#, "unsupported model: Unigram"),
        (#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"#, "vocabulary is malformed"),
        (#"{"model":{"type":"BPE","vocab":{"a":99999999},"merges":[]}}"#, "ids beyond"),
        (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}"#, "merge 0 is not a pair"),
        (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"#, "merge 0 is not a pair"),
        (
            #"{"model":{"vocab":{"a":0},"merges":[]},"normalizer":{"type":"Nmt"}}"#,
            "unsupported normalizer: Nmt"
        ),
        (
            #"{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"UnicodeScripts"}}"#,
            "unsupported pre-tokenizer: UnicodeScripts"
        ),
        (
            #"{"model":{"vocab":{"a":0},"merges":[]},"decoder":{"type":"CTC"}}"#,
            "unsupported decoder: CTC"
        ),
        (
            #"{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","#
                + #""pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false}}"#,
            "pattern (a"
        ),
        (
            #"{"model":{"vocab":{"a":0},"merges":[]},"added_tokens":[{"id":-2,"content":"x"}]}"#,
            "an added token without a usable id"
        ),
    ])
    func `a file that cannot be used is refused with its reason`(_ text: String, _ reason: String)
        throws
    {
        let error = #expect(throws: TokenizerError.self) {
            try Tokenizer(tokenizerJSON: Array(text.utf8))
        }
        #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
    }

    @Test func `missing files and unknown classes are refused`() throws {
        try TokenizerFixtures.withFolder([:]) { folder in
            #expect(throws: TokenizerError.self) { try Tokenizer.load(folder: folder) }
        }
        try TokenizerFixtures.withFolder([
            "vocab.json": #"{"a":0}"#, "merges.txt": "",
            "tokenizer_config.json": #"{"tokenizer_class":"OddTokenizer"}"#,
        ]) { folder in
            #expect(
                throws: TokenizerError.unsupported(
                    component: "tokenizer_class with vocab.json",
                    name: "OddTokenizer"
                )
            ) { try Tokenizer.load(folder: folder) }
        }
    }
}
