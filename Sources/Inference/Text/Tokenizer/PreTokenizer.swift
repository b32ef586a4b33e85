/// Cuts text into the words that the model encodes one by one (`pre_tokenizer` of `tokenizer.json`),
/// as a list of stages.
struct PreTokenizer: Sendable {
    /// What becomes of the matches of a split.
    enum Behavior: String, Sendable {
        case isolated = "Isolated"
        case removed = "Removed"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    /// Where Metaspace puts its mark although there was no space.
    enum Prepend: String, Sendable {
        case always
        case first
        case never
    }

    /// One stage.
    enum Stage: Sendable {
        case split(TextPattern, Behavior, invert: Bool)
        /// A space before each piece that has none.
        case prefixSpace
        /// Spaces become `mark`, and pieces are cut before it.
        case metaspace(mark: [UInt8], Prepend, split: Bool)
        /// Each byte becomes its character.
        ///
        /// Only where other stages follow; at the end the model reads the bytes themselves.
        case byteAlphabet
    }

    private(set) var stages: [Stage] = []
    /// Whether the words are bytes that the model reads through `ByteAlphabet`.
    var isByteLevel = false
    /// The pattern, where it is the whole of the pre-tokenizer: no lists of pieces are needed.
    private var only: WordPattern?

    init(stages: [Stage] = [], isByteLevel: Bool = false) {
        self.isByteLevel = isByteLevel
        var stages = stages
        // Digits then GPT-2, the two stages of StarCoder and SmolLM2, are one walk.
        if stages.count == 2, case .split(.scalar(.numeric), .isolated, false) = stages[0],
            case .split(.words(.gpt2), .isolated, _) = stages[1]
        {
            stages = [.split(.words(.digitsThenGPT2), .isolated, invert: false)]
        }
        self.stages = stages
        if stages.count == 1, case .split(.words(let pattern), .isolated, _) = stages[0] {
            only = pattern
        }
    }

    /// Calls `body` with the words of a piece of text; `isStart` says that it begins the input.
    @inline(__always)
    func forEachWord(
        _ text: UnsafeBufferPointer<UInt8>,
        isStart: Bool,
        _ body: (UnsafePointer<UInt8>, Int) -> Void
    ) {
        guard let base = text.baseAddress, !text.isEmpty else { return }
        if let only {
            WordScanner(text: base).forEachWord(only, in: 0..<text.count) {
                body(base + $0, $1 - $0)
            }
            return
        }
        if stages.isEmpty {
            body(base, text.count)
            return
        }
        let pieces = pieces(of: text, isStart: isStart)
        pieces.bytes.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return }
            for range in pieces.ranges where !range.isEmpty {
                body(base + range.lowerBound, range.count)
            }
        }
    }

    /// Text, and the pieces of it that are left.
    private struct Pieces {
        var bytes: [UInt8]
        var ranges: [Range<Int>]
    }

    private func pieces(of text: UnsafeBufferPointer<UInt8>, isStart: Bool) -> Pieces {
        var pieces = Pieces(bytes: Array(text), ranges: [0..<text.count])
        for stage in stages {
            switch stage {
            case .split(let pattern, let behavior, let invert):
                pieces.ranges = pieces.bytes.withUnsafeBufferPointer { bytes in
                    var ranges: [Range<Int>] = []
                    for range in pieces.ranges {
                        Self.split(bytes, range, pattern, behavior, invert, into: &ranges)
                    }
                    return ranges
                }
            case .prefixSpace:
                pieces = rebuild(pieces) { piece, _, out in
                    if piece.first != UInt8(ascii: " ") { out.append(UInt8(ascii: " ")) }
                    out += piece
                }
            case .byteAlphabet:
                pieces = rebuild(pieces) { piece, _, out in out += ByteAlphabet.encode(piece) }
            case .metaspace(let mark, let prepend, let split):
                pieces = rebuild(pieces) { piece, isFirst, out in
                    let marked = piece.first == UInt8(ascii: " ") || piece.starts(with: mark)
                    if !marked, prepend == .always || prepend == .first && isFirst && isStart {
                        out += mark
                    }
                    for byte in piece {
                        if byte == UInt8(ascii: " ") { out += mark } else { out.append(byte) }
                    }
                }
                guard split else { continue }
                pieces.ranges = pieces.bytes.withUnsafeBufferPointer { bytes in
                    var ranges: [Range<Int>] = []
                    for range in pieces.ranges {
                        Self.split(
                            bytes,
                            range,
                            .literal(mark),
                            .mergedWithNext,
                            false,
                            into: &ranges
                        )
                    }
                    return ranges
                }
            }
        }
        return pieces
    }

    /// New bytes for each piece; `isFirst` says that the piece is at the start of the text.
    private func rebuild(
        _ pieces: Pieces,
        _ body: (ArraySlice<UInt8>, _ isFirst: Bool, inout [UInt8]) -> Void
    ) -> Pieces {
        var result = Pieces(bytes: [], ranges: [])
        result.bytes.reserveCapacity(pieces.bytes.count * 2)
        for range in pieces.ranges where !range.isEmpty {
            let start = result.bytes.count
            body(pieces.bytes[range], range.lowerBound == 0, &result.bytes)
            result.ranges.append(start..<result.bytes.count)
        }
        return result
    }

    private static func split(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>,
        _ pattern: TextPattern,
        _ behavior: Behavior,
        _ invert: Bool,
        into ranges: inout [Range<Int>]
    ) {
        // The pieces of the range, each with whether it counts as a match.
        var parts: [(range: Range<Int>, isMatch: Bool)] = []
        var at = range.lowerBound
        for match in pattern.matches(in: bytes, range: range) {
            if at < match.lowerBound { parts.append((at..<match.lowerBound, invert)) }
            parts.append((match, !invert))
            at = match.upperBound
        }
        if at < range.upperBound { parts.append((at..<range.upperBound, invert)) }

        let first = ranges.count
        switch behavior {
        case .isolated: ranges += parts.lazy.map { $0.range }
        case .removed: ranges += parts.lazy.filter { !$0.isMatch }.map { $0.range }
        case .contiguous:
            var previous = false
            for part in parts {
                if part.isMatch == previous, ranges.count > first {
                    let last = ranges.removeLast()
                    ranges.append(last.lowerBound..<part.range.upperBound)
                } else {
                    ranges.append(part.range)
                }
                previous = part.isMatch
            }
        case .mergedWithPrevious:
            var previous = false
            for part in parts {
                if part.isMatch, !previous, ranges.count > first {
                    let last = ranges.removeLast()
                    ranges.append(last.lowerBound..<part.range.upperBound)
                } else {
                    ranges.append(part.range)
                }
                previous = part.isMatch
            }
        case .mergedWithNext:
            var backwards: [Range<Int>] = []
            var previous = false
            for part in parts.reversed() {
                if part.isMatch, !previous, let last = backwards.popLast() {
                    backwards.append(part.range.lowerBound..<last.upperBound)
                } else {
                    backwards.append(part.range)
                }
                previous = part.isMatch
            }
            ranges += backwards.reversed()
        }
    }
}
