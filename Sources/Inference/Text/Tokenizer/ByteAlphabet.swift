/// The GPT-2 alphabet: each byte has a printable character, so that vocabularies are plain text.
enum ByteAlphabet {
    /// The character of each byte, in UTF-8.
    static let characters: [[UInt8]] = (0...255).map { Array(String(scalar(of: $0)).utf8) }

    /// The byte of each scalar below U+0144; -1 where there is none.
    static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for byte in 0...255 { table[Int(scalar(of: byte).value)] = Int16(byte) }
        return table
    }()

    private static func isPrintable(_ byte: Int) -> Bool {
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
    }

    private static func scalar(of byte: Int) -> Unicode.Scalar {
        if isPrintable(byte) { return Unicode.Scalar(UInt8(byte)) }
        let rank = (0..<byte).count { !isPrintable($0) }
        return Unicode.Scalar(UInt16(256 + rank)) ?? " "
    }

    /// The bytes that a token of the alphabet stands for; nil where a character is not in it.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var at = text.startIndex
        while at != text.endIndex {
            let first = text[at]
            at = text.index(after: at)
            var value = Int(first)
            if first >= 0x80 {
                // Two-byte sequences reach U+07FF, beyond the alphabet's last character.
                guard first < 0xE0, at != text.endIndex else { return nil }
                value = (value & 0x1F) << 6 | Int(text[at] & 0x3F)
                at = text.index(after: at)
            }
            guard value < bytes.count, bytes[value] >= 0 else { return nil }
            out.append(UInt8(bytes[value]))
        }
        return out
    }

    /// The text in the alphabet.
    static func encode(_ text: some Sequence<UInt8>) -> [UInt8] {
        text.flatMap { characters[Int($0)] }
    }
}
