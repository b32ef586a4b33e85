// RFC 4648, read leniently: both alphabets, padding or none, white space between. Anything else is refused,
// and so are bits that no encoder leaves over.

enum Base64 {
    private static let skipped: UInt8 = 0xFE
    private static let bad: UInt8 = 0xFF

    private static let table: [UInt8] = {
        var table = [UInt8](repeating: bad, count: 256)
        let letters = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8
        )
        for (value, letter) in letters.enumerated() { table[Int(letter)] = UInt8(value) }
        table[Int(UInt8(ascii: "-"))] = 62
        table[Int(UInt8(ascii: "_"))] = 63
        for space in [0x09, 0x0A, 0x0D, 0x20] { table[space] = skipped }
        return table
    }()

    /// Bits of a digit at each of four places, one table after the other; the top bit says that it is none.
    private static let places: [UInt32] = [18, 12, 6, 0].flatMap { (shift: UInt32) in
        table.map { $0 < skipped ? UInt32($0) << shift : 1 << 31 }
    }

    /// Decodes whole groups of four digits from the start; how many groups there were.
    private static func groups(
        _ text: UnsafeBufferPointer<UInt8>,
        into room: UnsafeMutableBufferPointer<UInt8>
    ) -> Int {
        places.withUnsafeBufferPointer { places in
            for group in 0..<text.count / 4 {
                let bits =
                    places[Int(text[4 * group])] | places[256 + Int(text[4 * group + 1])]
                    | places[512 + Int(text[4 * group + 2])]
                    | places[768 + Int(text[4 * group + 3])]
                guard bits < 1 << 31 else { return group }
                room[3 * group] = UInt8(truncatingIfNeeded: bits >> 16)
                room[3 * group + 1] = UInt8(truncatingIfNeeded: bits >> 8)
                room[3 * group + 2] = UInt8(truncatingIfNeeded: bits)
            }
            return text.count / 4
        }
    }

    /// Bytes that `text` can hold at most.
    static func capacity(of count: Int) -> Int { count / 4 * 3 + 3 }

    /// Decodes into `room`, which has `capacity(of:)` bytes; nil where the text is no base64.
    static func decode(
        _ text: UnsafeBufferPointer<UInt8>,
        into room: UnsafeMutableBufferPointer<UInt8>
    ) -> Int? {
        // What is plain goes quickly; from the first white space, padding or fault on, digit by digit.
        let plain = groups(text, into: room)
        return table.withUnsafeBufferPointer { table in
            var (bits, digits, count, place) = (UInt32(0), 0, 3 * plain, 4 * plain)
            while place < text.count {
                let byte = text[place]
                if byte == UInt8(ascii: "=") { break }
                let value = table[Int(byte)]
                place += 1
                if value >= skipped {
                    if value == skipped { continue }
                    return nil
                }
                bits = bits << 6 | UInt32(value)
                digits += 1
                if digits == 4 {
                    room[count] = UInt8(truncatingIfNeeded: bits >> 16)
                    room[count + 1] = UInt8(truncatingIfNeeded: bits >> 8)
                    room[count + 2] = UInt8(truncatingIfNeeded: bits)
                    count += 3
                    digits = 0
                }
            }
            guard isPadding(text[place...], after: digits, table) else { return nil }
            switch digits {
            case 0: return count
            case 2:
                room[count] = UInt8(truncatingIfNeeded: bits >> 4)
                return count + 1
            case 3:
                room[count] = UInt8(truncatingIfNeeded: bits >> 10)
                room[count + 1] = UInt8(truncatingIfNeeded: bits >> 2)
                return count + 2
            default: return nil
            }
        }
    }

    /// Whether what follows the last digit is nothing, or all the padding that belongs there.
    private static func isPadding(
        _ rest: Slice<UnsafeBufferPointer<UInt8>>,
        after digits: Int,
        _ table: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        var signs = 0
        for byte in rest {
            if byte == UInt8(ascii: "=") {
                signs += 1
            } else if table[Int(byte)] != skipped {
                return false
            }
        }
        return signs == 0 || digits != 0 && digits + signs == 4
    }
}
