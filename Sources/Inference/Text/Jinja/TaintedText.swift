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

    /// Characters made from a value.
    init(_ text: String, madeFrom value: Value) {
        self = value.isTainted ? TaintedText(untrusted: text) : TaintedText(text)
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
        for range in other.untrusted { mark(range.lowerBound + base..<range.upperBound + base) }
    }

    /// Appends a part of another text.
    mutating func append(_ other: TaintedText, _ range: Range<Int>) {
        let moved = scalars.count - range.lowerBound
        scalars += other.scalars[range]
        for found in other.marks(in: range) {
            mark(found.lowerBound + moved..<found.upperBound + moved)
        }
    }

    /// Marks characters behind all marked ones as the client's.
    private mutating func mark(_ range: Range<Int>) {
        if let last = untrusted.last, last.upperBound == range.lowerBound {
            untrusted[untrusted.count - 1] = last.lowerBound..<range.upperBound
        } else {
            untrusted.append(range)
        }
    }

    /// The client's characters within a range; does not look at those before it.
    private func marks(in range: Range<Int>) -> [Range<Int>] {
        var (low, high) = (0, untrusted.count)
        while low < high {
            let middle = (low + high) / 2
            if untrusted[middle].upperBound <= range.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return untrusted[low...].prefix { $0.lowerBound < range.upperBound }
            .map { $0.clamped(to: range) }.filter { !$0.isEmpty }
    }

    subscript(range: Range<Int>) -> TaintedText {
        var part = TaintedText()
        part.append(self, range)
        return part
    }

    /// The text so many times.
    func repeated(_ times: Int) -> TaintedText {
        var result = TaintedText()
        guard times > 0, !isEmpty else { return result }
        // By doubling: for each binary digit of `times`, from the highest.
        for bit in (0..<Int.bitWidth - times.leadingZeroBitCount).reversed() {
            result.append(result)
            if times >> bit & 1 == 1 { result.append(self) }
        }
        return result
    }

    /// Each place where `needle` begins, not overlapping: left to right, or from the end.
    func places(of needle: TaintedText, limit: Int = .max, fromEnd: Bool = false) -> [Int] {
        guard !needle.isEmpty, needle.count <= count, limit > 0 else { return [] }
        guard fromEnd else { return Self.places(of: needle.scalars, in: scalars, limit) }
        return Self.places(of: needle.scalars.reversed(), in: scalars.reversed(), limit)
            .map { count - $0 - needle.count }
    }

    /// Knuth, Morris and Pratt's search: its time does not depend on how alike the texts are.
    private static func places(of wanted: [Unicode.Scalar], in text: [Unicode.Scalar], _ limit: Int)
        -> [Int]
    {
        // For each length of a beginning of `wanted`, the longest shorter one that it ends with.
        var back = [0]
        var length = 0
        for scalar in wanted.dropFirst() {
            while length > 0, wanted[length] != scalar { length = back[length - 1] }
            if wanted[length] == scalar { length += 1 }
            back.append(length)
        }
        var found: [Int] = []
        length = 0
        for (place, scalar) in text.enumerated() {
            while length > 0, wanted[length] != scalar { length = back[length - 1] }
            if wanted[length] == scalar { length += 1 }
            guard length == wanted.count else { continue }
            found.append(place + 1 - length)
            if found.count == limit { break }
            length = 0
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

    /// Parts between `separator`; a limit counts from the left or from the end.
    func split(_ separator: TaintedText, limit: Int = .max, fromEnd: Bool = false)
        -> [TaintedText]
    {
        var parts: [TaintedText] = []
        var from = 0
        let places = places(of: separator, limit: limit, fromEnd: fromEnd)
        for place in fromEnd ? places.reversed() : places {
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
                parts.append(self[at..<count])
                return parts
            }
            let start = at
            while at < count, !Self.isPythonSpace(scalars[at]) { at += 1 }
            parts.append(self[start..<at])
        }
    }

    /// The same with a limit that counts from the end.
    func words(lastFirst limit: Int) -> [TaintedText] {
        var parts: [TaintedText] = []
        var end = count
        while true {
            while end > 0, Self.isPythonSpace(scalars[end - 1]) { end -= 1 }
            guard end > 0, parts.count < limit else { break }
            var start = end
            while start > 0, !Self.isPythonSpace(scalars[start - 1]) { start -= 1 }
            parts.append(self[start..<end])
            end = start
        }
        if end > 0 { parts.append(self[0..<end]) }
        return parts.reversed()
    }

    /// With `old` replaced by `new`.
    func replacing(_ old: TaintedText, with new: TaintedText, limit: Int = .max) -> TaintedText {
        if old.isEmpty {
            var result = TaintedText()
            for place in 0...count where place <= limit {
                if place < limit || limit == .max { result.append(new) }
                if place < count { result.append(self, place..<place + 1) }
            }
            return result
        }
        var result = TaintedText()
        var from = 0
        for place in places(of: old, limit: limit) {
            result.append(self, from..<place)
            result.append(new)
            from = place + old.count
        }
        result.append(self, from..<count)
        return result
    }

    /// The characters mapped; a mapped character keeps its mark.
    func mapped(_ map: (Unicode.Scalar) -> String) -> TaintedText {
        var result = TaintedText()
        var rest = untrusted[...]
        for (place, scalar) in scalars.enumerated() {
            while let first = rest.first, first.upperBound <= place { rest.removeFirst() }
            let start = result.count
            result.scalars += map(scalar).unicodeScalars
            if let first = rest.first, first.contains(place), start < result.count {
                result.mark(start..<result.count)
            }
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
