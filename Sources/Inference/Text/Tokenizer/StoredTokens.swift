/// What the decoder takes for each id, in one arena, and which ids are special.
struct StoredTokens: Sendable {
    private var arena: [UInt8] = []
    /// Where each id's bytes end; they start where those before end.
    private var ends: [Int32] = []
    private var known: [Bool] = []
    private var special: [Bool] = []

    init(
        count: Int,
        vocabulary: Vocabulary,
        added: [Int32: AddedToken],
        decoder: TokenDecoder
    ) {
        ends.reserveCapacity(count)
        for id in 0..<Int32(clamping: count) {
            let token = added[id]
            let text = token?.content ?? vocabulary.text(of: id).map { Array($0) }
            if let text { arena += decoder.stored(text) }
            ends.append(Int32(clamping: arena.count))
            known.append(text != nil)
            special.append(token?.special ?? false)
        }
    }

    /// The bytes of `id`; nil where there is no such token.
    subscript(id: Int32) -> ArraySlice<UInt8>? {
        guard id >= 0, Int(id) < ends.count, known[Int(id)] else { return nil }
        return arena[Int(id == 0 ? 0 : ends[Int(id) - 1])..<Int(ends[Int(id)])]
    }

    /// Whether `id` is special.
    func isSpecial(_ id: Int32) -> Bool {
        id >= 0 && Int(id) < special.count && special[Int(id)]
    }
}
