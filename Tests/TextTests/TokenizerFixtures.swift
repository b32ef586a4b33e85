import Foundation
import JSON
import Text

/// The fixtures of the tokenizer tests.
enum TokenizerFixtures {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/tokenizers")

    static func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appendingPathComponent(name)))
    }

    static func json(_ name: String) throws -> JSONValue { try JSONValue.parse(try bytes(name)) }

    static func tokenizer(_ name: String) throws -> Tokenizer {
        try Tokenizer(tokenizerJSON: try bytes(name), name: name)
    }

    static func ids(_ value: JSONValue?) -> [Int32] {
        (value?.array ?? []).compactMap { $0.int.flatMap { Int32(exactly: $0) } }
    }

    /// A `tokenizer.json` whose vocabulary is the bytes and these words, each found as a whole.
    static func splitter(words: some Sequence<String>, preTokenizer: JSONValue) throws -> Tokenizer
    {
        var vocabulary = JSONObject()
        // Names of the byte alphabet are distinct as Swift strings too.
        for word in words where vocabulary[word] == nil {
            vocabulary[word] = .int(vocabulary.count)
        }
        let root: JSONValue = [
            "added_tokens": [], "normalizer": nil, "pre_tokenizer": preTokenizer,
            "post_processor": nil, "decoder": ["type": "ByteLevel"],
            "model": [
                "type": "BPE", "ignore_merges": true, "vocab": .object(vocabulary), "merges": [],
            ],
        ]
        return try Tokenizer(tokenizerJSON: root.bytes())
    }

    /// Runs `body` in a new folder with these files.
    static func withFolder(_ files: [String: String], _ body: (String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("tokenizer-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: path) }
        for (name, text) in files {
            try Data(text.utf8).write(to: path.appendingPathComponent(name))
        }
        try body(path.path)
    }

    /// A small random generator, the same in each run.
    struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
        }
    }

    /// Strings that mix scripts, spaces, marks, digits and `pieces`.
    static func texts(_ count: Int, seed: UInt64, pieces: [String] = []) -> [String] {
        let parts =
            pieces + [
                "a", " b", "  ", "\n", "\r\n", "'s", "'LL", "12", "½", "é", "e\u{301}", "日本", "한",
                "ß", "😀", "👩‍👩‍👧", "\u{200B}", "\u{A0}", "_", "!!", " word", "हि", "\t", "€",
            ]
        var random = Random(state: seed)
        return (0..<count).map { _ in
            (0..<Int.random(in: 0...14, using: &random)).map { _ in
                parts[Int.random(in: 0..<parts.count, using: &random)]
            }.joined()
        }
    }
}
