// The text of a key: `sk-tg-<id>-<secret><crc>`.
// The checksum catches typing errors and lets scanners recognise a key offline; it is no security.

import CLinux

/// The spelling of API keys: making, checking and taking apart.
public enum KeyFormat {
    /// What every key begins with.
    public static let prefix = "sk-tg-"
    /// Number of base62 characters in a public id.
    public static let idLength = 12
    /// Number of base62 characters in a secret, about 190 bits.
    public static let secretLength = 32
    /// Number of base62 characters in the checksum.
    public static let checksumLength = 6
    /// Length of a whole key in bytes.
    public static let keyLength = 6 + idLength + 1 + secretLength + checksumLength

    private static let alphabet = Array(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8
    )

    /// Returns the public id of a well-formed key.
    ///
    /// - Returns: `nil` unless prefix, lengths, alphabet and checksum are all right.
    public static func id(of key: String) -> String? {
        let bytes = Array(key.utf8.prefix(keyLength + 1))
        guard bytes.count == keyLength, bytes.starts(with: prefix.utf8) else { return nil }
        let idStart = prefix.utf8.count
        let idEnd = idStart + idLength
        let checksumStart = keyLength - checksumLength
        let id = bytes[idStart..<idEnd]
        guard bytes[idEnd] == UInt8(ascii: "-"), id.allSatisfy(isBase62),
            bytes[(idEnd + 1)...].allSatisfy(isBase62),
            Array(bytes[checksumStart...]) == checksum(of: bytes[..<checksumStart])
        else { return nil }
        return String(decoding: id, as: UTF8.self)
    }

    /// Whether a text is spelled like a key's public id.
    public static func isID(_ text: String) -> Bool {
        text.utf8.count == idLength && text.utf8.allSatisfy(isBase62)
    }

    /// A fresh key with a random id and a random secret from the kernel's generator.
    static func generate() throws(KeyStoreError) -> (id: String, key: String) {
        let id = try randomBase62(idLength)
        var bytes = Array(prefix.utf8) + id + [UInt8(ascii: "-")]
        bytes += try randomBase62(secretLength)
        bytes += checksum(of: bytes[...])
        return (String(decoding: id, as: UTF8.self), String(decoding: bytes, as: UTF8.self))
    }

    /// Bytes from the kernel's generator.
    static func randomBytes(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let result = bytes.withUnsafeMutableBytes { tg_getrandom($0.baseAddress, $0.count) }
        guard result == 0 else { throw .noRandomness }
        return bytes
    }

    private static func randomBase62(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        // 248 = 4 · 62: bytes above it are thrown away, so that every character is equally likely.
        var characters: [UInt8] = []
        while characters.count < count {
            for byte in try randomBytes(2 * count) where byte < 248 && characters.count < count {
                characters.append(alphabet[Int(byte % 62)])
            }
        }
        return characters
    }

    private static func isBase62(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }

    /// CRC-32 (IEEE 802.3) in base62, most significant digit first.
    private static func checksum(of bytes: ArraySlice<UInt8>) -> [UInt8] {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        var rest = ~crc
        var digits = [UInt8](repeating: alphabet[0], count: checksumLength)
        for place in digits.indices.reversed() {
            digits[place] = alphabet[Int(rest % 62)]
            rest /= 62
        }
        return digits
    }
}
