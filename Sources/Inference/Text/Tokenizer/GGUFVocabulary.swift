/// The tokenizer metadata of a GGUF file (`tokenizer.ggml.*`).
public struct GGUFVocabulary: Sendable {
    /// `model`: `gpt2` for byte-level merges, `llama` for SentencePiece.
    public var model: String
    /// `pre`: the name of the pre-tokenizer.
    public var pre: String
    /// `tokens`.
    public var tokens: [String]
    /// `merges`, as `"left right"`; empty for SentencePiece.
    public var merges: [String]
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty.
    public var tokenTypes: [Int32]
    /// `scores`, for SentencePiece; otherwise empty.
    public var scores: [Float] = []
    /// `bos_token_id`.
    public var bos: Int?
    /// `eos_token_id`.
    public var eos: Int?
    /// `unknown_token_id`.
    public var unknown: Int?
    /// `add_bos_token`; nil takes the habit of the model family.
    public var addBOS: Bool?
    /// `add_eos_token`.
    public var addEOS: Bool?
    /// `add_space_prefix`, for SentencePiece; nil is true there.
    public var addSpacePrefix: Bool?

    /// The metadata of a vocabulary; the rest can be set afterwards.
    public init(
        model: String,
        pre: String,
        tokens: [String],
        merges: [String],
        tokenTypes: [Int32]
    ) {
        self.model = model
        self.pre = pre
        self.tokens = tokens
        self.merges = merges
        self.tokenTypes = tokenTypes
    }

    private static let file = "GGUF metadata"

    /// - Throws: `TokenizerError`.
    func parts() throws(TokenizerError) -> TokenizerParts {
        guard !tokens.isEmpty, tokens.count <= Vocabulary.largestID else {
            throw .malformed(file: Self.file, reason: "\(tokens.count) tokens")
        }
        guard tokenTypes.isEmpty || tokenTypes.count == tokens.count else {
            throw .malformed(
                file: Self.file,
                reason: "\(tokens.count) tokens but \(tokenTypes.count) token types"
            )
        }
        var vocabulary = Vocabulary(capacity: tokens.count)
        for (id, token) in tokens.enumerated() {
            guard vocabulary.add(Array(token.utf8), id: id) else {
                throw .malformed(file: Self.file, reason: "the tokens are too large")
            }
        }
        var parts = TokenizerParts(vocabulary: vocabulary)
        for (id, token) in tokens.enumerated() where !token.isEmpty {
            guard let type = tokenTypes.isEmpty ? nil : tokenTypes[id], (2...4).contains(type),
                let number = Int32(exactly: id)
            else { continue }
            parts.add(AddedToken(id: number, content: token, special: type != 4))
        }
        switch model {
        case "gpt2": try byteLevel(&parts)
        case "llama": try sentencePiece(&parts)
        default: throw .unsupported(component: "tokenizer.ggml.model", name: model)
        }
        return parts
    }

    private func byteLevel(_ parts: inout TokenizerParts) throws(TokenizerError) {
        let family = try GGUFPreTokenizer.named(pre)
        var builder = MergeBuilder(capacity: merges.count, prefixLength: 0)
        for (rank, merge) in merges.enumerated() {
            guard builder.add(line: Array(merge.utf8), in: parts.vocabulary) else {
                throw .malformed(
                    file: Self.file,
                    reason: "merge \(rank) is not a pair of known tokens"
                )
            }
        }
        parts.merges = builder.table
        parts.options.ignoreMerges = family.ignoreMerges
        if family.composes { parts.normalizer.steps = [.nfc] }
        parts.preTokenizer = PreTokenizer(stages: family.stages, isByteLevel: true)
        parts.decoder = TokenDecoder(.byteLevel)
        parts.postProcessor = try ends(addBOS: addBOS ?? family.addBOS)
    }

    /// SentencePiece merges the pair whose result has the highest score: ranks by score.
    private func sentencePiece(_ parts: inout TokenizerParts) throws(TokenizerError) {
        guard scores.count == tokens.count else {
            throw .malformed(
                file: Self.file,
                reason: "\(tokens.count) tokens but \(scores.count) scores"
            )
        }
        let mergeable = tokens.indices.filter {
            let type = tokenTypes.isEmpty ? 1 : tokenTypes[$0]
            return type == 1 || type == 4
        }
        let allowed = Set(mergeable)
        var table = PairTable(capacity: tokens.count * 2)
        let ranked = mergeable.sorted { (scores[$0], $1) > (scores[$1], $0) }
        for (rank, id) in ranked.enumerated() {
            let text = Array(tokens[id].utf8)
            guard text.count > 1 else { continue }
            guard text.count <= 1024 else {
                throw .malformed(file: Self.file, reason: "token \(id) has \(text.count) bytes")
            }
            for cut in 1..<text.count where text[cut] & 0xC0 != 0x80 {
                guard let left = parts.vocabulary.id(of: Array(text[..<cut])),
                    let right = parts.vocabulary.id(of: Array(text[cut...])),
                    allowed.contains(Int(left)), allowed.contains(Int(right))
                else { continue }
                table.set(PairTable.key(left, right), UInt64(rank) << 32 | UInt64(id))
            }
        }
        parts.merges = table
        let mark = Array("\u{2581}".utf8)
        let space = Array(" ".utf8)
        parts.options.byteFallback = true
        parts.options.fuseUnknown = true
        if let unknown, tokens.indices.contains(unknown) {
            parts.options.unknown = Array(tokens[unknown].utf8)
        }
        parts.normalizer.steps = [.replace(.literal(space), with: mark)]
        var chain = TokenDecoder.Chain(
            before: [.replace(.literal(mark), with: space)],
            byteFallback: true,
            fuses: true
        )
        if addSpacePrefix ?? true {
            parts.normalizer.steps.insert(.prepend(mark), at: 0)
            chain.whole = [TokenDecoder.Strip(content: space, start: 1)]
        }
        parts.decoder = TokenDecoder(.chain(chain))
        parts.postProcessor = try ends(addBOS: addBOS ?? true)
    }

    private func ends(addBOS: Bool) throws(TokenizerError) -> PostProcessor {
        var result = PostProcessor()
        if addBOS {
            guard let bos, tokens.indices.contains(bos), let id = Int32(exactly: bos) else {
                throw .malformed(file: Self.file, reason: "no usable bos_token_id")
            }
            result.before = [id]
        }
        if addEOS ?? false {
            guard let eos, tokens.indices.contains(eos), let id = Int32(exactly: eos) else {
                throw .malformed(file: Self.file, reason: "no usable eos_token_id")
            }
            result.after = [id]
        }
        return result
    }
}
