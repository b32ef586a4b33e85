/// Between which bytes a merge can ever happen.
///
/// Where no merge has a left token that ends with the byte before a place and a right token that begins
/// with the byte after it, nothing merges across that place: both sides can be merged by themselves.
struct MergeEdges: Sendable {
    private var first: [UInt8]
    private var last: [UInt8]
    private var joins = [Bool](repeating: false, count: 1 << 16)

    init(vocabulary: Vocabulary, merges: PairTable, isByteLevel: Bool) {
        let size = vocabulary.upperBound
        first = Array(repeating: 0, count: size)
        last = first
        for id in 0..<size {
            guard let text = vocabulary.text(of: Int32(id)) else { continue }
            // A scalar of the byte alphabet has at most two bytes.
            first[id] = Self.byte(text.prefix(2), isByteLevel, atEnd: false)
            last[id] = Self.byte(text.suffix(2), isByteLevel, atEnd: true)
        }
        for (key, _) in merges.entries {
            let left = last[Int(key >> 32)]
            joins[Int(left) << 8 | Int(first[Int(key & 0xFFFF_FFFF)])] = true
        }
    }

    /// The byte at one end of a text, or the one that the character there stands for.
    private static func byte(_ end: ArraySlice<UInt8>, _ isByteLevel: Bool, atEnd: Bool) -> UInt8 {
        guard let edge = atEnd ? end.last : end.first else { return 0 }
        guard isByteLevel else { return edge }
        let scalar = edge < 0x80 ? (atEnd ? end.suffix(1) : end.prefix(1)) : end
        return ByteAlphabet.decode(scalar)?.first ?? edge
    }

    /// Whether anything may ever merge between these two adjacent symbols.
    @inline(__always) func mayJoin(_ left: Int32, _ right: Int32) -> Bool {
        joins[Int(last[Int(left)]) << 8 | Int(first[Int(right)])]
    }
}
