import Synchronization

/// Text to tokens and back, exactly as HF `tokenizers` does it for byte-pair models.
///
/// Safe to share between threads: what a call needs to write lies in a scratch memory that is its own
/// while it runs. Time is linear in the text but for runs without a word boundary, which take
/// O(n log n).
///
/// Special tokens in text: a *special* token (a control token of the model) is recognised only where
/// the caller says that the text may contain them. Added tokens that are *not* special (`<tool_call>`
/// in Qwen vocabularies, runs of spaces in others) are ordinary text to HF and are recognised
/// everywhere, here too.
public final class Tokenizer: Sendable {
    /// A part of a text, with whether special tokens spelled in it count.
    public struct Segment: Sendable, Hashable {
        /// The text.
        public var text: String
        /// False for text from outside: what it spells stays plain text.
        public var parseSpecial: Bool

        /// A part of a text.
        public init(_ text: String, parseSpecial: Bool) {
            self.text = text
            self.parseSpecial = parseSpecial
        }
    }

    /// Idle scratch memories that are kept.
    private static let poolSize = 8

    let decoder: TokenDecoder
    private let model: BPEModel
    private let normalizer: Normalizer
    private let preTokenizer: PreTokenizer
    private let postProcessor: PostProcessor
    private let plainTokens: AddedTokenMatcher
    private let normalizedTokens: AddedTokenMatcher
    private let added: [Int32: AddedToken]
    private let addedIDs: [[UInt8]: Int32]
    private let storedTokens: StoredTokens
    private let pool = Mutex<[WordScratch]>([])

    /// One more than the largest id.
    public let vocabularySize: Int

    /// 16 hexadecimal digits that are equal for equal vocabularies, merges and added tokens.
    ///
    /// Not a cryptographic hash.
    public let fingerprint: String

    /// The contents of a `tokenizer.json`.
    /// - Throws: `TokenizerError`.
    public convenience init(tokenizerJSON bytes: [UInt8], name: String = "tokenizer.json")
        throws(TokenizerError)
    {
        self.init(try TokenizerFile.parts(of: bytes, name: name))
    }

    /// The tokenizer of a model folder: `tokenizer.json`, or `vocab.json` and `merges.txt`; with
    /// `tokenizer_config.json` and the files beside it.
    /// - Throws: `TokenizerError`.
    public static func load(folder: String) throws(TokenizerError) -> Tokenizer {
        Tokenizer(try TokenizerFolder(path: folder).parts())
    }

    /// The tokenizer of a GGUF file.
    /// - Throws: `TokenizerError`.
    public convenience init(gguf: GGUFVocabulary) throws(TokenizerError) {
        self.init(try gguf.parts())
    }

    init(_ parts: TokenizerParts) {
        let vocabulary = parts.vocabulary
        decoder = parts.decoder
        normalizer = parts.normalizer
        preTokenizer = parts.preTokenizer
        postProcessor = parts.postProcessor
        model = BPEModel(
            vocabulary: vocabulary,
            merges: parts.merges,
            options: parts.options,
            isByteLevel: parts.preTokenizer.isByteLevel
        )
        let added = Dictionary(parts.addedTokens.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        self.added = added
        addedIDs = Dictionary(
            parts.addedTokens.map { ($0.content, $0.id) },
            uniquingKeysWith: { $1 }
        )
        plainTokens = AddedTokenMatcher(parts.addedTokens.filter { !$0.normalized })
        normalizedTokens = AddedTokenMatcher(
            parts.addedTokens.filter { $0.normalized }.map { token in
                var token = token
                token.content =
                    token.content.withUnsafeBufferPointer {
                        parts.normalizer.apply($0)
                    } ?? token.content
                return token
            }
        )
        let size = max(
            vocabulary.upperBound,
            Int(added.keys.max() ?? -1) + 1
        )
        vocabularySize = size
        storedTokens = StoredTokens(
            count: size,
            vocabulary: vocabulary,
            added: added,
            decoder: parts.decoder
        )
        fingerprint = Self.fingerprint(parts)
    }

    // MARK: Encoding

    /// The tokens of `text`.
    ///
    /// With `addSpecialTokens` the tokens that begin and end a text are added, where the model has
    /// such. `parseSpecial` says whether special tokens spelled in the text count; it is false for
    /// text from outside.
    public func encode(_ text: String, addSpecialTokens: Bool, parseSpecial: Bool = true) -> [Int32]
    {
        encode([Segment(text, parseSpecial: parseSpecial)], addSpecialTokens: addSpecialTokens)
    }

    /// The tokens of the joined segments: the same as of one string, except that special tokens are
    /// recognised only where all of their characters are in segments that allow it.
    public func encode(_ segments: [Segment], addSpecialTokens: Bool) -> [Int32] {
        var untrusted = UntrustedRanges()
        var text = segments.count == 1 ? segments[0].text : ""
        if segments.count != 1 {
            text.reserveCapacity(segments.reduce(0) { $0 + $1.text.utf8.count })
        }
        var at = 0
        for segment in segments {
            if segments.count != 1 { text += segment.text }
            let end = at + segment.text.utf8.count
            if !segment.parseSpecial { untrusted.append(at..<end) }
            at = end
        }
        var ids: [Int32] = []
        if addSpecialTokens { ids += postProcessor.before }
        ids.reserveCapacity(text.utf8.count / 4 + 8)
        let scratch = pool.withLock { $0.popLast() } ?? WordScratch()
        text.withUTF8 { encode($0, untrusted, scratch, into: &ids) }
        if !scratch.isLarge {
            pool.withLock { if $0.count < Self.poolSize { $0.append(scratch) } }
        }
        if addSpecialTokens { ids += postProcessor.after }
        return ids
    }

    private func encode(
        _ text: UnsafeBufferPointer<UInt8>,
        _ untrusted: UntrustedRanges,
        _ scratch: WordScratch,
        into ids: inout [Int32]
    ) {
        for part in plainTokens.parts(of: text, untrusted: untrusted) {
            if let token = part.token {
                ids.append(token)
                continue
            }
            let piece = UnsafeBufferPointer(rebasing: text[part.range])
            let untrusted = untrusted.clipped(to: part.range)
            let isStart = part.range.lowerBound == 0
            if let changed = normalizer.apply(piece) {
                let mapped =
                    normalizedTokens.hasSpecial
                    ? mapped(untrusted, piece, to: changed) : untrusted
                changed.withUnsafeBufferPointer {
                    encode(normalized: $0, mapped, isStart, scratch, into: &ids)
                }
            } else {
                encode(normalized: piece, untrusted, isStart, scratch, into: &ids)
            }
        }
    }

    private func encode(
        normalized text: UnsafeBufferPointer<UInt8>,
        _ untrusted: UntrustedRanges,
        _ isStart: Bool,
        _ scratch: WordScratch,
        into ids: inout [Int32]
    ) {
        for part in normalizedTokens.parts(of: text, untrusted: untrusted) {
            if let token = part.token {
                ids.append(token)
                continue
            }
            let piece = UnsafeBufferPointer(rebasing: text[part.range])
            preTokenizer.forEachWord(piece, isStart: isStart && part.range.lowerBound == 0) {
                model.encode($0, $1, with: scratch, into: &ids)
            }
        }
    }

    /// Untrusted ranges of `text` as ranges of its normalised form.
    ///
    /// Each range is normalised by itself; where the parts do not add up (characters joined across
    /// a boundary), nothing is trusted: a special token may then stay plain text, but never the
    /// other way round.
    private func mapped(
        _ untrusted: UntrustedRanges,
        _ text: UnsafeBufferPointer<UInt8>,
        to changed: [UInt8]
    ) -> UntrustedRanges {
        guard !untrusted.ranges.isEmpty else { return untrusted }
        var result = UntrustedRanges()
        var joined: [UInt8] = []
        var at = 0
        func add(_ range: Range<Int>, isTrusted: Bool) {
            guard !range.isEmpty else { return }
            let piece = UnsafeBufferPointer(rebasing: text[range])
            let start = joined.count
            joined += normalizer.apply(piece, isContinuation: start > 0) ?? Array(piece)
            if !isTrusted { result.append(start..<joined.count) }
        }
        for range in untrusted.ranges {
            add(at..<range.lowerBound, isTrusted: true)
            add(range, isTrusted: false)
            at = range.upperBound
        }
        add(at..<text.count, isTrusted: true)
        return joined == changed ? result : UntrustedRanges(ranges: [0..<changed.count])
    }

    // MARK: Decoding

    /// The text of `ids`; unknown ids give none, and bytes that are no UTF-8 give U+FFFD.
    public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        var detokenizer = Detokenizer(tokenizer: self, skipSpecialTokens: skipSpecialTokens)
        var text = ""
        for id in ids { text += detokenizer.append(id) }
        return text + detokenizer.finish()
    }

    /// What the decoder takes for `id`.
    func stored(_ id: Int32) -> ArraySlice<UInt8>? { storedTokens[id] }

    // MARK: Tokens

    /// The id of a token by its text in the vocabulary (`Ġworld`).
    public func id(of token: String) -> Int32? {
        let text = Array(token.utf8)
        return addedIDs[text] ?? model.vocabulary.id(of: text)
    }

    /// The text in the vocabulary of `id`; nil for unknown ids.
    public func token(of id: Int32) -> String? {
        if let token = added[id] { return String(decoding: token.content, as: UTF8.self) }
        return model.vocabulary.text(of: id).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Whether `id` is a special token.
    public func isSpecial(_ id: Int32) -> Bool { storedTokens.isSpecial(id) }

    /// The added tokens, special or not, by id.
    public var addedTokens: [AddedToken] { added.values.sorted { $0.id < $1.id } }

    /// The bytes that `id` contributes to the text; part of a character for some tokens, empty for
    /// unknown ids.
    public func bytes(of id: Int32) -> [UInt8] {
        guard let stored = stored(id) else { return [] }
        if case .chain(let chain) = decoder.kind {
            if chain.byteFallback, let byte = TokenDecoder.byte(of: stored) { return [byte] }
            // A first token would lose its space; within a text it has it.
            var state = decoder.initialState
            _ = decoder.append(Array("x".utf8)[...], to: &state)
            return decoder.append(stored, to: &state)
        }
        return Array(stored)
    }
}
