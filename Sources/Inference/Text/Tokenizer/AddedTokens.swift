/// A token that is recognised in the text before the model sees it.
public struct AddedToken: Sendable, Hashable {
    /// Its id.
    public var id: Int32
    /// Its text, in UTF-8.
    public var content: [UInt8]
    /// Whether it counts only where no word character touches it; default false.
    public var singleWord = false
    /// Whether it takes the white space before it; default false.
    public var stripsLeft = false
    /// Whether it takes the white space after it; default false.
    public var stripsRight = false
    /// Whether it is searched in the normalised text; default false.
    public var normalized = false
    /// Whether it is a control token: not shown when special tokens are skipped, and plain text where
    /// a caller says that special tokens must not be parsed.
    public var special = true

    /// A token with these properties.
    public init(id: Int32, content: String, special: Bool = true) {
        self.id = id
        self.content = Array(content.utf8)
        self.special = special
    }

    init(id: Int32, content: [UInt8]) {
        self.id = id
        self.content = content
    }
}

/// Where special tokens must not be recognised: sorted, disjoint ranges of a text.
struct UntrustedRanges: Sendable {
    var ranges: [Range<Int>] = []

    /// Adds a range that begins at or after the end of the last.
    mutating func append(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        if let last = ranges.last, last.upperBound == range.lowerBound {
            ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
        } else {
            ranges.append(range)
        }
    }

    /// How much of `range` is untrusted.
    enum Overlap { case none, part, whole }

    func overlap(_ range: Range<Int>) -> Overlap {
        // The first range that ends after the start.
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= range.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < ranges.count, ranges[low].lowerBound < range.upperBound else { return .none }
        return ranges[low].lowerBound <= range.lowerBound
            && ranges[low].upperBound >= range.upperBound ? .whole : .part
    }

    /// The part inside `window`, counted from its start.
    func clipped(to window: Range<Int>) -> UntrustedRanges {
        guard !ranges.isEmpty else { return self }
        return UntrustedRanges(
            ranges: ranges.compactMap { range in
                let part = range.clamped(to: window)
                guard !part.isEmpty else { return nil }
                return (part.lowerBound - window.lowerBound)..<(part.upperBound - window.lowerBound)
            }
        )
    }
}

/// Finds added tokens: of the matches that start leftmost, the longest.
///
/// Time is the length of the text times the length of the longest token.
struct AddedTokenMatcher: Sendable {
    /// A part of the text: an added token, or text between them.
    struct Part {
        var token: Int32?
        var range: Range<Int>
    }

    private let tokens: [AddedToken]
    private var edges = PairTable(capacity: 64)
    /// The token that ends at each node; -1 for none.
    private var ends: [Int32] = [-1]
    private var starts = [Bool](repeating: false, count: 256)

    init(_ tokens: [AddedToken]) {
        self.tokens = tokens
        for (place, token) in tokens.enumerated() {
            guard let first = token.content.first else { continue }
            starts[Int(first)] = true
            var node: Int32 = 0
            for byte in token.content {
                let key = PairTable.key(node, Int32(byte))
                if let next = edges[key] {
                    node = Int32(next)
                } else {
                    edges.set(key, UInt64(ends.count))
                    node = Int32(ends.count)
                    ends.append(-1)
                }
            }
            ends[Int(node)] = Int32(place)
        }
    }

    var isEmpty: Bool { tokens.isEmpty }
    /// Whether any of the tokens is special.
    var hasSpecial: Bool { tokens.contains { $0.special } }

    /// The longest token at `at` that may be recognised; `skipped` is the end of a special token in
    /// untrusted text, whose characters are not searched again.
    private func longest(
        _ text: UnsafeBufferPointer<UInt8>,
        _ at: Int,
        _ untrusted: UntrustedRanges
    ) -> (found: (place: Int, end: Int)?, skipped: Int?) {
        var node: Int32 = 0
        var end = at
        var found: (place: Int, end: Int)?
        var skipped: Int?
        while end < text.count, let next = edges[PairTable.key(node, Int32(text[end]))] {
            node = Int32(next)
            end += 1
            let place = Int(ends[Int(node)])
            guard place >= 0 else { continue }
            guard tokens[place].special else {
                found = (place, end)
                skipped = nil
                continue
            }
            switch untrusted.overlap(at..<end) {
            case .none:
                found = (place, end)
                skipped = nil
            case .whole:
                found = nil
                skipped = end
            case .part: break
            }
        }
        return (found, skipped)
    }

    /// The parts of `text`, which they cover in order.
    func parts(
        of text: UnsafeBufferPointer<UInt8>,
        untrusted: UntrustedRanges
    ) -> [Part] {
        if isEmpty { return [Part(token: nil, range: 0..<text.count)] }
        var parts: [Part] = []
        var start = 0
        var at = 0
        while at < text.count {
            guard starts[Int(text[at])] else {
                at += 1
                continue
            }
            let match = longest(text, at, untrusted)
            guard let (place, end) = match.found else {
                at = match.skipped ?? at + 1
                continue
            }
            let token = tokens[place]
            if token.singleWord, touchesWord(text, at..<end) {
                at = end
                continue
            }
            // As in HF, a search goes on right after the token's own characters: a token inside white
            // space that another has taken is still found.
            var range = at..<end
            if token.stripsLeft {
                range = min(end, spaceStart(text, before: at, from: start))..<end
            }
            if token.stripsRight { range = range.lowerBound..<spaceEnd(text, after: end) }
            if start < range.lowerBound {
                parts.append(Part(token: nil, range: start..<range.lowerBound))
            }
            parts.append(Part(token: token.id, range: range))
            start = range.upperBound
            at = end
        }
        if start < text.count { parts.append(Part(token: nil, range: start..<text.count)) }
        return parts
    }

    private func touchesWord(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Bool {
        if range.lowerBound > 0,
            classes(text, before: range.lowerBound).contains(.word)
        {
            return true
        }
        return range.upperBound < text.count
            && classes(text, at: range.upperBound).classes.contains(.word)
    }

    private func classes(_ text: UnsafeBufferPointer<UInt8>, at place: Int)
        -> (classes: UnicodeClasses, length: Int)
    {
        guard let base = text.baseAddress else { return ([], 1) }
        let found = WordScanner(text: base).peek(place)
        return (UnicodeClasses(rawValue: found.classes), found.length)
    }

    private func classes(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> UnicodeClasses {
        classes(text, at: scalarStart(text, before: end)).classes
    }

    private func scalarStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var at = end - 1
        while at > 0, text[at] & 0xC0 == 0x80 { at -= 1 }
        return at
    }

    private func spaceStart(
        _ text: UnsafeBufferPointer<UInt8>,
        before end: Int,
        from start: Int
    ) -> Int {
        var at = end
        while at > start {
            let scalar = scalarStart(text, before: at)
            guard classes(text, at: scalar).classes.contains(.space) else { break }
            at = scalar
        }
        return max(at, start)
    }

    private func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
        var at = start
        while at < text.count {
            let next = classes(text, at: at)
            guard next.classes.contains(.space) else { break }
            at += next.length
        }
        return at
    }
}
