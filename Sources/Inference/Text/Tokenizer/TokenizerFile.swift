import JSON

/// Reads `tokenizer.json` of HF `tokenizers`.
///
/// The vocabulary and the merges are read as bytes where they lie; the rest is small and goes
/// through `JSONValue`.
struct TokenizerFile {
    private let name: String

    /// - Throws: `TokenizerError`.
    static func parts(of bytes: [UInt8], name: String) throws(TokenizerError) -> TokenizerParts {
        let file = TokenizerFile(name: name)
        let outcome: Result<TokenizerParts, TokenizerError> = bytes.withUnsafeBufferPointer {
            buffer in
            do throws(TokenizerError) {
                return .success(try file.parts(buffer))
            } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    private func malformed(_ reason: String) -> TokenizerError {
        .malformed(file: name, reason: reason)
    }

    private func parts(_ bytes: UnsafeBufferPointer<UInt8>) throws(TokenizerError)
        -> TokenizerParts
    {
        let places = try largeMembers(bytes)
        let root = try skeleton(bytes, without: places)
        let model = root["model"]
        let type = model?["type"]?.string ?? "BPE"
        guard type == "BPE" else { throw .unsupported(component: "model", name: type) }
        guard let vocabularyPlace = places["vocab"], let mergesPlace = places["merges"] else {
            throw malformed("model.vocab or model.merges is missing")
        }

        var parts = TokenizerParts(
            vocabulary: try vocabulary(bytes, at: vocabularyPlace)
        )
        parts.options = try options(model ?? .null)
        parts.merges = try merges(
            bytes,
            at: mergesPlace,
            in: parts.vocabulary,
            prefixLength: parts.options.continuingPrefix.count
        )
        let components = TokenizerComponents(file: name)
        parts.normalizer.steps = try components.normalizer(root["normalizer"] ?? .null)
        parts.preTokenizer = try components.preTokenizer(root["pre_tokenizer"] ?? .null)
        parts.postProcessor = try components.postProcessor(root["post_processor"] ?? .null)
        parts.decoder = TokenDecoder(try components.decoder(root["decoder"] ?? .null))
        for token in root["added_tokens"]?.array ?? [] {
            guard let id = token["id"]?.int, id <= Vocabulary.largestID,
                let number = Int32(exactly: id), number >= 0
            else { throw malformed("an added token without a usable id") }
            parts.add(try AddedToken(json: token, id: number, file: name))
        }
        return parts
    }

    // MARK: Layout

    /// Where the values of `model.vocab` and `model.merges` lie.
    private func largeMembers(_ bytes: UnsafeBufferPointer<UInt8>) throws(TokenizerError)
        -> [String: Range<Int>]
    {
        var places: [String: Range<Int>] = [:]
        do throws(JSONSkimmer.Failure) {
            var skimmer = JSONSkimmer(bytes)
            try members(&skimmer) { (name, skimmer) throws(JSONSkimmer.Failure) in
                guard name == Array("model".utf8), try skimmer.peek() == UInt8(ascii: "{") else {
                    return try skimmer.skipValue()
                }
                try members(&skimmer) { (name, skimmer) throws(JSONSkimmer.Failure) in
                    _ = try skimmer.peek()
                    let start = skimmer.at
                    try skimmer.skipValue()
                    let key = String(decoding: name, as: UTF8.self)
                    if key == "vocab" || key == "merges" { places[key] = start..<skimmer.at }
                }
            }
        } catch { throw malformed("not JSON of the expected shape at byte \(error.offset)") }
        return places
    }

    private func members(
        _ skimmer: inout JSONSkimmer,
        _ body: ([UInt8], inout JSONSkimmer) throws(JSONSkimmer.Failure) -> Void
    ) throws(JSONSkimmer.Failure) {
        var name: [UInt8] = []
        var isFirst = true
        guard try skimmer.take(UInt8(ascii: "{")) else {
            throw JSONSkimmer.Failure(offset: skimmer.at)
        }
        while try skimmer.hasMore(&isFirst, end: UInt8(ascii: "}")) {
            try skimmer.name(into: &name)
            try body(name, &skimmer)
        }
    }

    /// The file with `null` in the place of the large members.
    private func skeleton(
        _ bytes: UnsafeBufferPointer<UInt8>,
        without places: [String: Range<Int>]
    ) throws(TokenizerError) -> JSONValue {
        var text: [UInt8] = []
        var at = 0
        for place in places.values.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            text += bytes[at..<place.lowerBound]
            text += "null".utf8
            at = place.upperBound
        }
        text += bytes[at...]
        do throws(JSONError) {
            return try JSONValue.parse(text)
        } catch { throw malformed(error.reason) }
    }

    // MARK: Model

    /// The vocabulary `{"text": id, …}` at `place`; the whole of `vocab.json` too.
    func vocabulary(_ bytes: UnsafeBufferPointer<UInt8>, at place: Range<Int>)
        throws(TokenizerError) -> Vocabulary
    {
        var vocabulary = Vocabulary(capacity: place.count / 16)
        var isUsable = true
        do throws(JSONSkimmer.Failure) {
            var skimmer = JSONSkimmer(bytes, at: place.lowerBound)
            try members(&skimmer) { (name, skimmer) throws(JSONSkimmer.Failure) in
                let id = try skimmer.integer()
                isUsable = vocabulary.add(name, id: id) && isUsable
            }
        } catch { throw malformed("the vocabulary is malformed at byte \(error.offset)") }
        guard isUsable else { throw malformed("the vocabulary has ids beyond 2^24") }
        guard vocabulary.count > 0 else { throw malformed("the vocabulary is empty") }
        return vocabulary
    }

    private func merges(
        _ bytes: UnsafeBufferPointer<UInt8>,
        at place: Range<Int>,
        in vocabulary: Vocabulary,
        prefixLength: Int
    ) throws(TokenizerError) -> PairTable {
        var builder = MergeBuilder(capacity: vocabulary.count, prefixLength: prefixLength)
        var rank = 0
        var unknown: Int?
        do throws(JSONSkimmer.Failure) {
            var skimmer = JSONSkimmer(bytes, at: place.lowerBound)
            var left: [UInt8] = []
            var right: [UInt8] = []
            var isFirst = true
            guard try skimmer.take(UInt8(ascii: "[")) else {
                throw JSONSkimmer.Failure(offset: place.lowerBound)
            }
            while try skimmer.hasMore(&isFirst, end: UInt8(ascii: "]")) {
                var isKnown: Bool
                if try skimmer.take(UInt8(ascii: "[")) {
                    try skimmer.string(into: &left)
                    guard try skimmer.take(UInt8(ascii: ",")) else {
                        throw JSONSkimmer.Failure(offset: skimmer.at)
                    }
                    try skimmer.string(into: &right)
                    guard try skimmer.take(UInt8(ascii: "]")) else {
                        throw JSONSkimmer.Failure(offset: skimmer.at)
                    }
                    isKnown = builder.add(left, right, in: vocabulary)
                } else {
                    try skimmer.string(into: &left)
                    isKnown = builder.add(line: left, in: vocabulary)
                }
                if !isKnown, unknown == nil { unknown = rank }
                rank += 1
            }
        } catch { throw malformed("the merges are malformed at byte \(error.offset)") }
        if let unknown {
            throw malformed("merge \(unknown) is not a pair of tokens of the vocabulary")
        }
        return builder.table
    }

    private func options(_ model: JSONValue) throws(TokenizerError) -> BPEModel.Options {
        var options = BPEModel.Options()
        options.ignoreMerges = model["ignore_merges"]?.bool ?? false
        options.byteFallback = model["byte_fallback"]?.bool ?? false
        options.fuseUnknown = model["fuse_unk"]?.bool ?? false
        options.unknown = (model["unk_token"]?.string).map { Array($0.utf8) }
        options.continuingPrefix = Array((model["continuing_subword_prefix"]?.string ?? "").utf8)
        options.endSuffix = Array((model["end_of_word_suffix"]?.string ?? "").utf8)
        return options
    }
}

extension TokenizerFile {
    init(reading name: String) { self.name = name }
}

extension AddedToken {
    /// The token of an entry of `added_tokens` or `added_tokens_decoder`.
    init(json: JSONValue, id: Int32, file: String) throws(TokenizerError) {
        guard let content = json["content"]?.string else {
            throw .malformed(file: file, reason: "an added token without content")
        }
        self.init(id: id, content: Array(content.utf8))
        singleWord = json["single_word"]?.bool ?? false
        stripsLeft = json["lstrip"]?.bool ?? false
        stripsRight = json["rstrip"]?.bool ?? false
        special = json["special"]?.bool ?? false
        normalized = json["normalized"]?.bool ?? !special
    }
}
