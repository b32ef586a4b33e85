/// A string that remembers which of its characters came from the client.
///
/// Indices count Unicode scalars, as Python's do. Equality and hash look at the characters only.
struct TaintedText: Sendable, Hashable {
    private(set) var scalars: [Unicode.Scalar]
    /// Ranges of the client's characters, in order, not touching each other.
    private(set) var untrusted: [Range<Int>] = []

    init() { scalars = [] }

    /// Text of the template or of the model's makers.
    init(_ text: String) { scalars = Array(text.unicodeScalars) }

    /// Text of the client.
    init(untrusted text: String) {
        self.init(text)
        if !scalars.isEmpty { untrusted = [0..<scalars.count] }
    }

    /// Characters made from `sources`: untrusted if any of them has an untrusted character.
    init(_ text: String, madeFrom sources: [TaintedText]) {
        self = sources.contains { $0.isTainted } ? TaintedText(untrusted: text) : TaintedText(text)
    }

    var count: Int { scalars.count }
    var isEmpty: Bool { scalars.isEmpty }
    var isTainted: Bool { !untrusted.isEmpty }

    var string: String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    static func == (a: Self, b: Self) -> Bool { a.scalars == b.scalars }
    func hash(into hasher: inout Hasher) { hasher.combine(scalars) }

    mutating func append(_ other: TaintedText) {
        let base = scalars.count
        scalars += other.scalars
        for range in other.untrusted {
            let moved = range.lowerBound + base..<range.upperBound + base
            if let last = untrusted.last, last.upperBound == moved.lowerBound {
                untrusted[untrusted.count - 1] = last.lowerBound..<moved.upperBound
            } else {
                untrusted.append(moved)
            }
        }
    }

    subscript(range: Range<Int>) -> TaintedText {
        var part = TaintedText()
        part.scalars = Array(scalars[range])
        for mark in untrusted {
            let low = max(mark.lowerBound, range.lowerBound)
            let high = min(mark.upperBound, range.upperBound)
            if low < high {
                part.untrusted.append(low - range.lowerBound..<high - range.lowerBound)
            }
        }
        return part
    }

    /// Each place where `needle` begins, left to right, not overlapping.
    func places(of needle: TaintedText, limit: Int = .max) -> [Int] {
        let wanted = needle.scalars
        guard !wanted.isEmpty, wanted.count <= scalars.count else { return [] }
        var found: [Int] = []
        var at = 0
        while at + wanted.count <= scalars.count, found.count < limit {
            if scalars[at] == wanted[0], scalars[at..<at + wanted.count].elementsEqual(wanted) {
                found.append(at)
                at += wanted.count
            } else {
                at += 1
            }
        }
        return found
    }

    func contains(_ needle: TaintedText) -> Bool {
        needle.isEmpty || !places(of: needle, limit: 1).isEmpty
    }

    func hasPrefix(_ other: TaintedText) -> Bool { scalars.starts(with: other.scalars) }

    func hasSuffix(_ other: TaintedText) -> Bool {
        scalars.count >= other.scalars.count
            && scalars.suffix(other.scalars.count).elementsEqual(other.scalars)
    }

    /// Without the characters of `set` (white space if nil) at the ends.
    func stripped(_ set: TaintedText? = nil, left: Bool = true, right: Bool = true) -> TaintedText {
        let members = set.map { Set($0.scalars) }
        func goes(_ scalar: Unicode.Scalar) -> Bool {
            members?.contains(scalar) ?? Self.isPythonSpace(scalar)
        }
        var low = 0
        var high = scalars.count
        if left { while low < high, goes(scalars[low]) { low += 1 } }
        if right { while high > low, goes(scalars[high - 1]) { high -= 1 } }
        return self[low..<high]
    }

    /// `str.isspace` of one character.
    static func isPythonSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
            0x205F,
            0x3000:
            true
        default: false
        }
    }

    /// Parts between `separator`.
    func split(_ separator: TaintedText, limit: Int = .max) -> [TaintedText] {
        var parts: [TaintedText] = []
        var from = 0
        for place in places(of: separator, limit: limit) {
            parts.append(self[from..<place])
            from = place + separator.count
        }
        parts.append(self[from..<count])
        return parts
    }

    /// Words between white space.
    func words(limit: Int = .max) -> [TaintedText] {
        var parts: [TaintedText] = []
        var at = 0
        while true {
            while at < count, Self.isPythonSpace(scalars[at]) { at += 1 }
            guard at < count else { return parts }
            if parts.count == limit {
                parts.append(self[at..<count].stripped(left: false))
                return parts
            }
            let start = at
            while at < count, !Self.isPythonSpace(scalars[at]) { at += 1 }
            parts.append(self[start..<at])
        }
    }

    /// With `old` replaced by `new`.
    func replacing(_ old: TaintedText, with new: TaintedText, limit: Int = .max) -> TaintedText {
        if old.isEmpty {
            var result = TaintedText()
            for place in 0...count where place <= limit {
                if place < limit || limit == .max { result.append(new) }
                if place < count { result.append(self[place..<place + 1]) }
            }
            return result
        }
        let parts = split(old, limit: limit)
        var result = parts[0]
        for part in parts.dropFirst() {
            result.append(new)
            result.append(part)
        }
        return result
    }

    /// The characters mapped; a mapped character keeps its mark.
    func mapped(_ map: (Unicode.Scalar) -> String) -> TaintedText {
        var result = TaintedText()
        for (place, scalar) in scalars.enumerated() {
            let text = map(scalar)
            let isTrusted = !untrusted.contains { $0.contains(place) }
            result.append(isTrusted ? TaintedText(text) : TaintedText(untrusted: text))
        }
        return result
    }

    /// The pieces for the tokeniser.
    var segments: [PromptSegment] {
        var pieces: [PromptSegment] = []
        var at = 0
        func piece(_ range: Range<Int>, _ trusted: Bool) {
            if !range.isEmpty { pieces.append(PromptSegment(self[range].string, trusted: trusted)) }
        }
        for mark in untrusted {
            piece(at..<mark.lowerBound, true)
            piece(mark, false)
            at = mark.upperBound
        }
        piece(at..<count, true)
        return pieces
    }
}
