/// Walks over the bytes of a JSON text without making values.
///
/// Vocabularies have hundreds of thousands of members whose names differ in ways that Swift strings
/// do not see, so they are read as bytes.
struct JSONSkimmer {
    /// The text is not what was expected at a byte offset.
    struct Failure: Error { let offset: Int }

    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var at: Int

    init(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int = 0) {
        self.bytes = bytes
        at = start
    }

    private func fail() -> Failure { Failure(offset: at) }

    private mutating func skipSpace() {
        while at < bytes.count, bytes[at] <= 0x20 { at += 1 }
    }

    /// The next byte that is not white space.
    mutating func peek() throws(Failure) -> UInt8 {
        skipSpace()
        guard at < bytes.count else { throw fail() }
        return bytes[at]
    }

    /// Takes `byte`; false where something else is next.
    mutating func take(_ byte: UInt8) throws(Failure) -> Bool {
        guard try peek() == byte else { return false }
        at += 1
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(Failure) {
        guard try take(byte) else { throw fail() }
    }

    /// Whether a list that was opened goes on; takes the comma or the end.
    mutating func hasMore(_ isFirst: inout Bool, end: UInt8) throws(Failure) -> Bool {
        if try take(end) { return false }
        if !isFirst { try expect(UInt8(ascii: ",")) }
        isFirst = false
        return true
    }

    /// A member's name and the colon.
    mutating func name(into text: inout [UInt8]) throws(Failure) {
        try string(into: &text)
        try expect(UInt8(ascii: ":"))
    }

    /// A string, without its escapes.
    mutating func string(into text: inout [UInt8]) throws(Failure) {
        try expect(UInt8(ascii: "\""))
        text.removeAll(keepingCapacity: true)
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") { return }
            if byte != UInt8(ascii: "\\") {
                text.append(byte)
                continue
            }
            guard at < bytes.count else { break }
            let code = bytes[at]
            at += 1
            switch code {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "u"): text += Array(String(try unicode()).utf8)
            default: text.append(code)
            }
        }
        throw fail()
    }

    private mutating func unicode() throws(Failure) -> Unicode.Scalar {
        let first = try hex4()
        if let scalar = Unicode.Scalar(first) { return scalar }
        let mark = at
        if first < 0xDC00, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"),
            bytes[at + 1] == UInt8(ascii: "u")
        {
            at += 2
            let second = try hex4()
            if (0xDC00..<0xE000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + second - 0xDC00)
            {
                return scalar
            }
        }
        at = mark
        return "\u{FFFD}"
    }

    private mutating func hex4() throws(Failure) -> UInt32 {
        guard at + 4 <= bytes.count,
            let value = UInt32(String(decoding: bytes[at..<(at + 4)], as: UTF8.self), radix: 16)
        else { throw fail() }
        at += 4
        return value
    }

    /// A whole number.
    mutating func integer() throws(Failure) -> Int {
        skipSpace()
        var end = at
        while end < bytes.count, bytes[end] &- 0x30 < 10 { end += 1 }
        guard let value = Int(String(decoding: bytes[at..<end], as: UTF8.self)) else {
            throw fail()
        }
        at = end
        return value
    }

    /// Passes over one value of any kind.
    mutating func skipValue() throws(Failure) {
        var depth = 0
        repeat {
            let byte = try peek()
            switch byte {
            case UInt8(ascii: "\""): try skipString()
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                depth += 1
                at += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                depth -= 1
                at += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { throw fail() }
                at += 1
            default:
                while at < bytes.count, !",:]}\"[{ \n\r\t".utf8.contains(bytes[at]) { at += 1 }
            }
        } while depth > 0
        guard depth == 0 else { throw fail() }
    }

    private mutating func skipString() throws(Failure) {
        at += 1
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
            at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard at < bytes.count else { throw fail() }
        at += 1
    }
}
