extension Tokenizer {
    /// FNV-1a over all tokens, in the order of their ids, the merges and the added tokens.
    static func fingerprint(_ parts: TokenizerParts) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        func add(_ number: UInt64) { hash = (hash ^ number) &* 0x9E37_79B9_7F4A_7C15 }
        for id in 0..<Int32(clamping: parts.vocabulary.upperBound) {
            for byte in parts.vocabulary.text(of: id) ?? [] { add(byte) }
            add(UInt8(0xFF))
        }
        for token in parts.addedTokens.sorted(by: { $0.id < $1.id }) {
            add(UInt64(UInt32(bitPattern: token.id)))
            for byte in token.content { add(byte) }
            add(UInt8(token.special ? 1 : 0))
        }
        // The order of slots depends on the keys only, but a sum does not depend on it at all.
        add(parts.merges.checksum)
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension PairTable {
    /// A sum over all entries.
    var checksum: UInt64 {
        entries.reduce(0) { sum, entry in
            var mixed = (entry.key ^ entry.value &* 0xD6E8_FEB8_6659_FD93) &* 0x9E37_79B9_7F4A_7C15
            mixed ^= mixed >> 29
            return sum &+ mixed &* 0xBF58_476D_1CE4_E5B9
        }
    }
}
