/// Byte-pair encoding of one word, as HF `tokenizers` does it: of all adjacent pairs the one with
/// the lowest rank merges first, of equal ones the leftmost.
///
/// Short words are merged by scanning; long ones through a queue, so that the worst case is O(n log
/// n).
struct BPEModel: Sendable {
    /// The settings of the model in `tokenizer.json`.
    struct Options: Sendable {
        /// A word that is a token as a whole is not merged at all.
        var ignoreMerges = false
        /// Characters outside the vocabulary become `<0xNN>` tokens.
        var byteFallback = false
        /// The token of what cannot be encoded; without it, it is dropped.
        var unknown: [UInt8]?
        /// Adjacent unknowns become one.
        var fuseUnknown = false
        /// Before each symbol that does not start a word.
        var continuingPrefix: [UInt8] = []
        /// After the last symbol of a word.
        var endSuffix: [UInt8] = []
    }

    private static let none = UInt64.max
    private static let longWord = 64

    let vocabulary: Vocabulary
    let options: Options
    /// Whether words come as raw bytes whose symbols are the characters of `ByteAlphabet`.
    let isByteLevel: Bool
    private let merges: PairTable
    /// The token of each byte's character; -1 where there is none.
    private let byteIDs: [Int32]
    /// The token `<0xNN>` of each byte; -1 where there is none.
    private let fallbackIDs: [Int32]
    private let unknownID: Int32?
    /// One more than the highest rank.
    private let rankBound: Int
    private let edges: MergeEdges

    /// A model; the values of `merges` have the rank in the upper half, the new token in the lower.
    init(vocabulary: Vocabulary, merges: PairTable, options: Options, isByteLevel: Bool) {
        self.vocabulary = vocabulary
        self.merges = merges
        self.options = options
        self.isByteLevel = isByteLevel
        byteIDs = ByteAlphabet.characters.map { vocabulary.id(of: $0) ?? -1 }
        fallbackIDs = (0...255).map { vocabulary.id(of: Self.fallbackText(UInt8($0))) ?? -1 }
        unknownID = options.unknown.flatMap { vocabulary.id(of: $0) }
        rankBound = merges.entries.reduce(0) { max($0, Int($1.value >> 32) + 1) }
        edges = MergeEdges(
            vocabulary: vocabulary,
            merges: merges,
            isByteLevel: isByteLevel
        )
    }

    /// `<0x0A>` for 10.
    static func fallbackText(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            + Array(">".utf8)
    }

    /// Appends the tokens of one word (valid UTF-8) to `ids`.
    @inline(__always)
    func encode(
        _ word: UnsafePointer<UInt8>,
        _ length: Int,
        with scratch: WordScratch,
        into ids: inout [Int32]
    ) {
        if length == 0 { return }
        guard length <= WordScratch.longestCached else {
            tokenize(word, length, with: scratch)
            ids.append(
                contentsOf: UnsafeBufferPointer(start: scratch.symbols, count: scratch.count)
            )
            return
        }
        let (key, place) = WordScratch.key(word, length)
        let entry = scratch.cache + place
        if entry.pointee.length == UInt32(length), entry.pointee.key == key {
            if entry.pointee.count == 1 {
                ids.append(entry.pointee.ids.0)
            } else {
                Self.append(entry, to: &ids)
            }
            return
        }
        tokenize(word, length, with: scratch)
        ids.append(contentsOf: UnsafeBufferPointer(start: scratch.symbols, count: scratch.count))
        guard scratch.count <= WordScratch.mostCached else { return }
        entry.pointee.key = key
        entry.pointee.length = UInt32(length)
        entry.pointee.count = UInt32(scratch.count)
        withUnsafeMutableBytes(of: &entry.pointee.ids) { target in
            target.copyMemory(
                from: UnsafeRawBufferPointer(start: scratch.symbols, count: scratch.count * 4)
            )
        }
    }

    private static func append(
        _ entry: UnsafeMutablePointer<WordScratch.CachedWord>,
        to ids: inout [Int32]
    ) {
        withUnsafeBytes(of: &entry.pointee.ids) { source in
            ids.append(
                contentsOf: source.bindMemory(to: Int32.self).prefix(Int(entry.pointee.count))
            )
        }
    }

    /// Leaves the word's tokens in `scratch.symbols`.
    private func tokenize(
        _ word: UnsafePointer<UInt8>,
        _ length: Int,
        with scratch: WordScratch
    ) {
        scratch.count = 0
        scratch.reserve(length)
        if options.ignoreMerges, let id = wholeWord(word, length) {
            scratch.append(id)
            return
        }
        if isByteLevel, options.continuingPrefix.isEmpty, options.endSuffix.isEmpty,
            unknownID == nil, !options.byteFallback
        {
            for place in 0..<length {
                let id = byteIDs[Int(word[place])]
                if id >= 0 { scratch.append(id) }
            }
        } else {
            characters(word, length, into: scratch)
        }
        if scratch.count < 2 { return }
        if scratch.count < Self.longWord {
            scratch.count = mergeShort(scratch.symbols, scratch.ranks, scratch.count)
        } else {
            mergeParts(scratch)
        }
    }

    private func wholeWord(_ word: UnsafePointer<UInt8>, _ length: Int) -> Int32? {
        let text = UnsafeBufferPointer(start: word, count: length)
        return isByteLevel
            ? vocabulary.id(of: ByteAlphabet.encode(text)) : vocabulary.id(of: text)
    }

    /// The first symbols where any of affixes, fallback and unknown tokens is in play.
    private func characters(
        _ word: UnsafePointer<UInt8>,
        _ length: Int,
        into scratch: WordScratch
    ) {
        var pending = false
        var at = 0
        var symbol: [UInt8] = []
        while at < length {
            let size = isByteLevel ? 1 : WordScanner(text: word).scalar(at).length
            symbol.removeAll(keepingCapacity: true)
            if at > 0 { symbol += options.continuingPrefix }
            if isByteLevel {
                symbol += ByteAlphabet.characters[Int(word[at])]
            } else {
                symbol += UnsafeBufferPointer(start: word + at, count: size)
            }
            at += size
            if at == length { symbol += options.endSuffix }
            if let id = vocabulary.id(of: symbol) {
                if pending, let unknownID { scratch.append(unknownID) }
                pending = false
                scratch.append(id)
                continue
            }
            if options.byteFallback, symbol.allSatisfy({ fallbackIDs[Int($0)] >= 0 }) {
                for byte in symbol { scratch.append(fallbackIDs[Int(byte)]) }
                continue
            }
            guard let unknownID else { continue }
            if pending, !options.fuseUnknown { scratch.append(unknownID) }
            pending = true
        }
        if pending, let unknownID { scratch.append(unknownID) }
    }

    @inline(__always) private func rank(_ left: Int32, _ right: Int32) -> UInt64 {
        merges[PairTable.key(left, right)] ?? Self.none
    }

    /// Cuts a long word where nothing can merge, and merges the parts in place.
    private func mergeParts(_ scratch: WordScratch) {
        let symbols = scratch.symbols
        let count = scratch.count
        var start = 0
        var kept = 0
        while start < count {
            var end = start + 1
            while end < count, edges.mayJoin(symbols[end - 1], symbols[end]) { end += 1 }
            let part = symbols + start
            let left: Int
            switch end - start {
            case 1: left = 1
            case ..<Self.longWord: left = mergeShort(part, scratch.ranks, end - start)
            default: left = mergeLong(part, end - start, scratch)
            }
            for place in 0..<left { symbols[kept + place] = part[place] }
            kept += left
            start = end
        }
        scratch.count = kept
    }

    /// Merges symbols in place; how many are left.
    private func mergeShort(
        _ symbols: UnsafeMutablePointer<Int32>,
        _ ranks: UnsafeMutablePointer<UInt64>,
        _ length: Int
    ) -> Int {
        var count = length
        for place in 0..<(count - 1) { ranks[place] = rank(symbols[place], symbols[place + 1]) }
        while count > 1 {
            var best = Self.none
            var at = 0
            for place in 0..<(count - 1) where ranks[place] < best {
                best = ranks[place]
                at = place
            }
            if best == Self.none { break }
            symbols[at] = Int32(truncatingIfNeeded: best)
            count -= 1
            var place = at + 1
            while place < count {
                symbols[place] = symbols[place + 1]
                ranks[place - 1] = ranks[place]
                place += 1
            }
            if at > 0 { ranks[at - 1] = rank(symbols[at - 1], symbols[at]) }
            if at < count - 1 { ranks[at] = rank(symbols[at], symbols[at + 1]) }
        }
        return count
    }

    /// A doubly linked list of symbols and a queue of (rank, place).
    ///
    /// An entry whose rank is no longer that of its place is stale and skipped.
    private func mergeLong(
        _ ids: UnsafeMutablePointer<Int32>,
        _ count: Int,
        _ scratch: WordScratch
    ) -> Int {
        var queue = scratch.takeQueue(ranks: rankBound)
        queue.prepare(count)
        scratch.links.removeAll(keepingCapacity: true)
        scratch.links.reserveCapacity(count)
        for place in 0..<count {
            let merge = place + 1 < count ? rank(ids[place], ids[place + 1]) : Self.none
            scratch.links.append(
                WordScratch.Link(
                    merge: merge,
                    id: ids[place],
                    previous: Int32(place) - 1,
                    next: Int32(place) + 1
                )
            )
            if merge != Self.none {
                queue.push(rank: UInt32(merge >> 32), place: Int32(place))
            }
        }
        let kept = scratch.links.withUnsafeMutableBufferPointer { links in
            while let (rank, place) = queue.pop() {
                let at = Int(place)
                let merge = links[at].merge
                guard merge != Self.none, merge >> 32 == UInt64(rank) else { continue }
                let id = Int32(truncatingIfNeeded: merge)
                let right = Int(links[at].next)
                let after = Int(links[right].next)
                let before = Int(links[at].previous)
                links[right].merge = Self.none
                var next = Self.none
                if after < count {
                    links[after].previous = place
                    next = self.rank(id, links[after].id)
                    if next != Self.none { queue.push(rank: UInt32(next >> 32), place: place) }
                }
                links[at].id = id
                links[at].next = Int32(after)
                links[at].merge = next
                if before >= 0 {
                    let joined = self.rank(links[before].id, id)
                    links[before].merge = joined
                    if joined != Self.none {
                        queue.push(rank: UInt32(joined >> 32), place: Int32(before))
                    }
                }
            }
            var kept = 0
            var at = 0
            while at < count {
                ids[kept] = links[at].id
                kept += 1
                at = Int(links[at].next)
            }
            return kept
        }
        scratch.queue = queue
        return kept
    }
}
