// RFC 2397: `data:[<mediatype>][;base64],<data>`. The media type is ignored: the bytes say what they are.

internal import Glibc

package enum DataURL {
    static func matches(_ text: String) -> Bool {
        text.utf8.prefix(5).map { $0 | 0x20 }.elementsEqual("data:".utf8)
    }

    /// The bytes of a URL; at most `most`.
    package static func bytes(of url: String, most: Int) throws(MediaError) -> EncodedBytes {
        let text = url.utf8.dropFirst(5)
        // A header is short; a URL without a comma must not be searched to its end for nothing.
        guard let comma = text.prefix(1024).firstIndex(of: UInt8(ascii: ",")) else {
            throw .invalid("the data URL has no ',' before its data")
        }
        let isBase64 = text[..<comma].suffix(7).map { $0 | 0x20 }.elementsEqual(";base64".utf8)
        let data = Substring(text[text.index(after: comma)...])
        guard isBase64 else { return try percentDecoded(data, most: most) }
        guard hasPercent(data) else {
            return try base64(data, most: most, "the data URL's base64 is damaged")
        }
        guard let plain = percentDecoded(data) else {
            throw .invalid("the data URL's percent encoding is damaged")
        }
        return try base64(
            Substring(String(decoding: plain, as: UTF8.self)),
            most: most,
            "the data URL's base64 is damaged"
        )
    }

    /// Whether a byte is a percent sign; the texts are long.
    private static func hasPercent(_ text: Substring) -> Bool {
        let found = text.utf8.withContiguousStorageIfAvailable { bytes in
            bytes.baseAddress.map { memchr($0, 0x25, bytes.count) != nil } ?? false
        }
        return found ?? text.utf8.contains(0x25)
    }

    /// The bytes of a base64 text without a header.
    package static func base64(
        _ text: Substring,
        most: Int,
        _ complaint: String = "it is not base64"
    ) throws(MediaError) -> EncodedBytes {
        var text = text
        text.makeContiguousUTF8()
        let capacity = Base64.capacity(of: text.utf8.count)
        // Line ends and padding take their share of the text.
        guard capacity - capacity / 16 - 6 <= most else { throw .tooLarge(beyond(most)) }
        let bytes = try EncodedBytes.memory(capacity: capacity) { room in
            text.utf8.withContiguousStorageIfAvailable { Base64.decode($0, into: room) } ?? nil
        }
        guard let bytes else { throw .invalid(complaint) }
        guard bytes.count <= most else { throw .tooLarge(beyond(most)) }
        return bytes
    }

    private static func percentDecoded(_ text: Substring, most: Int) throws(MediaError)
        -> EncodedBytes
    {
        guard let bytes = percentDecoded(text) else {
            throw .invalid("the data URL's percent encoding is damaged")
        }
        guard bytes.count <= most else { throw .tooLarge(beyond(most)) }
        let stored = try EncodedBytes.memory(capacity: bytes.count) { room in
            _ = room.update(fromContentsOf: bytes)
            return bytes.count
        }
        guard let stored else { throw .busy }
        return stored
    }

    private static func percentDecoded(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    static func beyond(_ most: Int) -> String { "it has more than \(most) bytes" }
}
