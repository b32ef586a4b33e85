import Foundation
import JSON

/// The tokenizer files of a model folder.
struct TokenizerFolder {
    let path: String

    private static let specialNames = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
        "additional_special_tokens", "extra_special_tokens",
    ]

    /// - Throws: `TokenizerError`.
    func parts() throws(TokenizerError) -> TokenizerParts {
        let config = try json("tokenizer_config.json") ?? .null
        var parts: TokenizerParts
        if let bytes = try read("tokenizer.json") {
            parts = try TokenizerFile.parts(of: bytes, name: "tokenizer.json")
        } else {
            parts = try fromMerges(config)
        }
        try addConfigured(config, to: &parts)
        return parts
    }

    // MARK: Files

    /// Bytes; the largest real one has about 35 MB.
    private static let largestFile = 256 << 20

    private func read(_ name: String) throws(TokenizerError) -> [UInt8]? {
        let file = path + "/" + name
        var info = stat()
        guard stat(file, &info) == 0 else { return nil }
        guard info.st_size <= Self.largestFile else {
            throw .unreadable(file: name, reason: "\(info.st_size) bytes")
        }
        do {
            return Array(try Data(contentsOf: URL(fileURLWithPath: file)))
        } catch {
            throw .unreadable(file: name, reason: error.localizedDescription)
        }
    }

    private func json(_ name: String) throws(TokenizerError) -> JSONValue? {
        guard let bytes = try read(name) else { return nil }
        do throws(JSONError) {
            return try JSONValue.parse(bytes)
        } catch { throw .malformed(file: name, reason: error.description) }
    }

    // MARK: vocab.json and merges.txt

    private func fromMerges(_ config: JSONValue) throws(TokenizerError) -> TokenizerParts {
        guard let vocabularyBytes = try read("vocab.json"), let merges = try read("merges.txt")
        else {
            throw .unreadable(
                file: "tokenizer.json",
                reason: "it is absent, as are vocab.json and merges.txt"
            )
        }
        let file = TokenizerFile(reading: "vocab.json")
        let outcome: Result<Vocabulary, TokenizerError> = vocabularyBytes.withUnsafeBufferPointer {
            bytes in
            do throws(TokenizerError) {
                return .success(try file.vocabulary(bytes, at: 0..<bytes.count))
            } catch { return .failure(error) }
        }
        var parts = TokenizerParts(vocabulary: try outcome.get())
        parts.merges = try mergeTable(merges, parts.vocabulary)
        parts.decoder = TokenDecoder(.byteLevel)
        switch try tokenizerClass(config) {
        case "Qwen2Tokenizer":
            parts.normalizer.steps = [.nfc]
            parts.preTokenizer = PreTokenizer(
                stages: [
                    .split(.words(.cl100k(digits: 1, marks: false)), .isolated, invert: false)
                ],
                isByteLevel: true
            )
        case "GPT2Tokenizer":
            var stages: [PreTokenizer.Stage] = [
                .split(.words(.gpt2), .isolated, invert: false)
            ]
            if config["add_prefix_space"]?.bool ?? false { stages.insert(.prefixSpace, at: 0) }
            parts.preTokenizer = PreTokenizer(stages: stages, isByteLevel: true)
            if config["add_bos_token"]?.bool ?? false,
                let bos = Self.contents(of: config["bos_token"]).first,
                let id = parts.vocabulary.id(of: bos)
            {
                parts.postProcessor.before = [id]
            }
        case let name:
            throw .unsupported(component: "tokenizer_class with vocab.json", name: name)
        }
        for (text, id) in try json("added_tokens.json")?.object?.members.map({ $0 }) ?? [] {
            guard let id = id.int, id <= Vocabulary.largestID, let number = Int32(exactly: id),
                number >= 0
            else { continue }
            parts.add(AddedToken(id: number, content: text, special: false))
        }
        return parts
    }

    private func mergeTable(_ bytes: [UInt8], _ vocabulary: Vocabulary) throws(TokenizerError)
        -> PairTable
    {
        var builder = MergeBuilder(capacity: vocabulary.count, prefixLength: 0)
        var number = 0
        for var line in bytes.split(separator: UInt8(ascii: "\n")) {
            number += 1
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty || line.starts(with: "#version".utf8) { continue }
            guard builder.add(line: line, in: vocabulary) else {
                throw .malformed(
                    file: "merges.txt",
                    reason: "line \(number) is not a pair of known tokens"
                )
            }
        }
        return builder.table
    }

    /// The class of the tokenizer without `Fast`; from the model's type where the config names none.
    private func tokenizerClass(_ config: JSONValue) throws(TokenizerError) -> String {
        if let name = config["tokenizer_class"]?.string {
            return name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
        }
        let type = try json("config.json")?["model_type"]?.string ?? "none"
        switch type {
        case "qwen2", "qwen3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen2_moe", "qwen3_moe":
            return "Qwen2Tokenizer"
        case "gpt2": return "GPT2Tokenizer"
        default:
            throw .unsupported(component: "tokenizer_class with vocab.json", name: "model \(type)")
        }
    }

    // MARK: Tokens named in the configuration

    /// A special token is a string or an object with `content`; some names have lists of them.
    private static func contents(of value: JSONValue?) -> [[UInt8]] {
        switch value {
        case .string(let text): [Array(text.utf8)]
        case .array(let list): list.flatMap { contents(of: $0) }
        case .object(let object):
            object["content"].map { contents(of: $0) } ?? object.values.flatMap { contents(of: $0) }
        default: []
        }
    }

    /// HF adds the tokens of `added_tokens_decoder`, whose flags count, and special tokens that are
    /// in the vocabulary only.
    private func addConfigured(_ config: JSONValue, to parts: inout TokenizerParts)
        throws(TokenizerError)
    {
        let file = "tokenizer_config.json"
        let listed = config["added_tokens_decoder"]?.object?.members.map { $0 } ?? []
        for (key, value) in listed {
            guard let id = Int32(key), id >= 0, id <= Vocabulary.largestID else {
                throw .malformed(file: file, reason: "added_tokens_decoder has the id \(key)")
            }
            var token = try AddedToken(json: value, id: id, file: file)
            // The id of a text that is known stays as the tokenizer file has it.
            let content = token.content
            if let known = parts.addedToken(content)?.id
                ?? parts.vocabulary.id(of: content)
            {
                token.id = known
            }
            parts.add(token)
        }
        let map = try json("special_tokens_map.json") ?? .null
        for source in [config, map] {
            for content in Self.specialNames.flatMap({ Self.contents(of: source[$0]) }) {
                guard parts.addedToken(content) == nil,
                    let id = parts.vocabulary.id(of: content)
                else { continue }
                parts.add(AddedToken(id: id, content: content))
            }
        }
    }
}
