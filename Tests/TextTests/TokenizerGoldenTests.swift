import JSON
import Testing
import Text

/// Against what HF `tokenizers` gives for the same files and texts.
@Suite struct TokenizerGoldenTests {
    private static let qwen2 =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
        + " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

    private static func splitting(_ regex: String) -> JSONValue {
        [
            "type": "Sequence",
            "pretokenizers": [
                [
                    "type": "Split", "pattern": ["Regex": .string(regex)], "behavior": "Isolated",
                    "invert": false,
                ],
                [
                    "type": "ByteLevel", "add_prefix_space": false, "use_regex": false,
                    "trim_offsets": false,
                ],
            ],
        ]
    }

    private static let byteLevel: JSONValue = [
        "type": "ByteLevel", "add_prefix_space": false, "use_regex": true,
    ]

    private static let preTokenizers: [(name: String, value: JSONValue)] = [
        ("qwen2", splitting(qwen2)),
        // The same through PCRE2: a group that changes nothing makes the text unknown.
        ("qwen2", splitting("(?:\(qwen2))")),
        ("llama3", splitting(qwen2.replacing("|\\p{N}| ?", with: "|\\p{N}{1,3}| ?"))),
        ("llama3", splitting("(?:\(qwen2.replacing("|\\p{N}| ?", with: "|\\p{N}{1,3}| ?")))")),
        ("gpt2", byteLevel),
        (
            "smollm",
            [
                "type": "Sequence",
                "pretokenizers": [["type": "Digits", "individual_digits": true], byteLevel],
            ]
        ),
    ]

    @Test(arguments: 0..<6)
    func `text is cut into the golden words`(_ place: Int) throws {
        let golden = try TokenizerFixtures.json("golden.json")
        let (name, value) = Self.preTokenizers[place]
        let splits = (golden["pretok"]?[name]?.array ?? []).map {
            ($0.array ?? []).compactMap { $0.string }
        }
        let tokenizer = try TokenizerFixtures.splitter(words: splits.joined(), preTokenizer: value)
        let texts = (golden["texts"]?.array ?? []).compactMap { $0.string }
        #expect(texts.count == 21 && splits.count == 21)
        for (text, words) in zip(texts, splits) {
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            #expect(ids.map { tokenizer.token(of: $0) } == words, "\(text.debugDescription)")
        }
    }

    @Test(arguments: [("tiny_qwen2", "tiny-qwen2.json"), ("smollm2", "smollm2-excerpt.json")])
    func `ids, text and streams are golden`(_ name: String, _ file: String) throws {
        let golden = try TokenizerFixtures.json("golden.json")
        let tokenizer = try TokenizerFixtures.tokenizer(file)
        let texts = (golden["texts"]?.array ?? []).compactMap { $0.string }
        let rows = golden[name]?.array ?? []
        #expect(rows.count == texts.count)
        for (text, row) in zip(texts, rows) {
            let ids = TokenizerFixtures.ids(row["ids"])
            #expect(tokenizer.encode(text, addSpecialTokens: false) == ids)
            #expect(tokenizer.decode(ids, skipSpecialTokens: false) == row["decoded"]?.string)
            #expect(tokenizer.decode(ids, skipSpecialTokens: true) == row["decoded_skip"]?.string)
            var detokenizer = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: false)
            // HF waits with a whole token while its end is unfinished; we give out its beginning.
            var ours: [UInt8] = []
            var theirs: [UInt8] = []
            for (id, chunk) in zip(ids, row["stream"]?.array ?? []) {
                ours += Array(detokenizer.append(id).utf8)
                theirs += Array((chunk.string ?? "").utf8)
                #expect(ours.starts(with: theirs))
            }
            #expect(ours == theirs)
            #expect(detokenizer.finish().isEmpty)
        }
    }

    @Test func `all components give the ids and texts of HF`() throws {
        let file = try TokenizerFixtures.json("components.json")
        let variants = file["variants"]?.array ?? []
        #expect(variants.count == 30)
        for variant in variants {
            let name = variant["name"]?.string ?? "?"
            var model = variant["model"]?.object ?? file["model"]?.object ?? JSONObject()
            if let ignore = variant["ignore_merges"] { model["ignore_merges"] = ignore }
            var root = JSONObject([("model", .object(model))])
            for part in [
                "normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens",
            ] {
                root[part] = variant[part]
            }
            let tokenizer = try Tokenizer(
                tokenizerJSON: JSONValue.object(root).bytes(),
                name: name
            )
            for entry in variant["cases"]?.array ?? [] {
                let text = entry["text"]?.string ?? ""
                let ids = TokenizerFixtures.ids(entry["ids"])
                let comment: Comment = "\(name): \(text.debugDescription)"
                #expect(tokenizer.encode(text, addSpecialTokens: false) == ids, comment)
                #expect(
                    tokenizer.encode(text, addSpecialTokens: true)
                        == TokenizerFixtures.ids(entry["with_special"]),
                    comment
                )
                #expect(
                    tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false)
                        == TokenizerFixtures.ids(entry["as_text"]),
                    comment
                )
                for (skip, member) in [(false, "decoded"), (true, "decoded_skip")] {
                    let decoded = tokenizer.decode(ids, skipSpecialTokens: skip)
                    #expect(
                        Array(decoded.utf8) == Array((entry[member]?.string ?? "").utf8),
                        comment
                    )
                }
            }
        }
    }
}
