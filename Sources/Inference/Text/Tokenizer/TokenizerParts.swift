/// All that a tokenizer is made of, whichever files it came from.
struct TokenizerParts: Sendable {
    var vocabulary: Vocabulary
    var merges = PairTable(capacity: 16)
    var options = BPEModel.Options()
    private(set) var addedTokens: [AddedToken] = []
    /// Where each text is in `addedTokens`; some files have tens of thousands.
    private var places: [[UInt8]: Int] = [:]
    var normalizer = Normalizer()
    var preTokenizer = PreTokenizer()
    var postProcessor = PostProcessor()
    var decoder = TokenDecoder(.byteLevel)

    /// No tokens yet but those of the model.
    init(vocabulary: Vocabulary) { self.vocabulary = vocabulary }

    /// The added token of this text.
    func addedToken(_ content: [UInt8]) -> AddedToken? { places[content].map { addedTokens[$0] } }

    /// Adds or replaces an added token; of the same text the last counts.
    mutating func add(_ token: AddedToken) {
        guard !token.content.isEmpty else { return }
        if let place = places[token.content] {
            addedTokens[place] = token
        } else {
            places[token.content] = addedTokens.count
            addedTokens.append(token)
        }
    }
}

/// Collects merges in the order of their rank.
struct MergeBuilder {
    private(set) var table: PairTable
    private var rank: UInt64 = 0
    private var joined: [UInt8] = []
    private let prefixLength: Int

    /// No merges yet; `prefixLength` bytes of a right token are not part of the merged one.
    init(capacity: Int, prefixLength: Int) {
        table = PairTable(capacity: capacity)
        self.prefixLength = prefixLength
    }

    /// Adds the next merge; false where one of the three tokens is not in the vocabulary.
    mutating func add(_ left: [UInt8], _ right: [UInt8], in vocabulary: Vocabulary) -> Bool {
        joined.removeAll(keepingCapacity: true)
        joined += left
        joined += right.dropFirst(prefixLength)
        guard let first = vocabulary.id(of: left), let second = vocabulary.id(of: right),
            let result = vocabulary.id(of: joined)
        else { return false }
        table.set(PairTable.key(first, second), rank << 32 | UInt64(result))
        rank += 1
        return true
    }

    /// Adds the merge `"left right"`; false where it is not two known tokens.
    mutating func add(line: some Collection<UInt8>, in vocabulary: Vocabulary) -> Bool {
        let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 2 else { return false }
        return add(Array(parts[0]), Array(parts[1]), in: vocabulary)
    }
}
