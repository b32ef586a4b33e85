/// How a document is spelled.
public struct JSONStyle: Sendable {
    /// Between elements; default `,`.
    public var itemSeparator = ","
    /// Between name and value; default `:`.
    public var keySeparator = ":"
    /// Spaces of indentation; nil, the default, keeps all on one line.
    public var indent: Int?
    /// Whether all but ASCII is escaped; default false.
    public var asciiOnly = false
    /// Whether members are sorted by name; default false.
    public var sortKeys = false

    /// The shortest spelling.
    public init() {}
    /// The shortest spelling: no spaces, one line.
    public static let compact = JSONStyle()
    /// Two spaces of indentation, for people.
    public static var pretty: JSONStyle {
        var style = JSONStyle()
        style.keySeparator = ": "
        style.indent = 2
        return style
    }
}

extension JSONValue {
    /// The document as text.
    public func text(_ style: JSONStyle = .compact) -> String {
        String(decoding: bytes(style), as: UTF8.self)
    }

    /// The document as UTF-8.
    public func bytes(_ style: JSONStyle = .compact) -> [UInt8] {
        var writer = JSONWriter(style: style)
        writer.write(self, depth: 0)
        return writer.output
    }
}

extension String {
    /// Appends `text` as a JSON string with its quotes to UTF-8 bytes.
    public static func appendJSON(_ text: String, to output: inout [UInt8], asciiOnly: Bool = false)
    {
        output.append(UInt8(ascii: "\""))
        if asciiOnly {
            for unit in text.utf16 {
                if unit < 0x80 {
                    appendEscaped(UInt8(unit), to: &output)
                } else {
                    appendHex(unit, to: &output)
                }
            }
        } else {
            for byte in text.utf8 { appendEscaped(byte, to: &output) }
        }
        output.append(UInt8(ascii: "\""))
    }

    private static func appendEscaped(_ byte: UInt8, to output: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""): output += [0x5C, 0x22]
        case UInt8(ascii: "\\"): output += [0x5C, 0x5C]
        case 0x0A: output += [0x5C, UInt8(ascii: "n")]
        case 0x0D: output += [0x5C, UInt8(ascii: "r")]
        case 0x09: output += [0x5C, UInt8(ascii: "t")]
        case 0x08: output += [0x5C, UInt8(ascii: "b")]
        case 0x0C: output += [0x5C, UInt8(ascii: "f")]
        case 0..<0x20: appendHex(UInt16(byte), to: &output)
        default: output.append(byte)
        }
    }

    private static func appendHex(_ unit: UInt16, to output: inout [UInt8]) {
        let digits: StaticString = "0123456789abcdef"
        output += [0x5C, UInt8(ascii: "u")]
        for shift in [12, 8, 4, 0] { output.append(digits.utf8Start[Int(unit >> shift & 15)]) }
    }
}

/// Recursion is bounded by the depth that the value was parsed or built with.
private struct JSONWriter {
    let style: JSONStyle
    var output: [UInt8] = []

    mutating func write(_ value: JSONValue, depth: Int) {
        switch value {
        case .null: output += "null".utf8
        case .bool(let flag): output += (flag ? "true" : "false").utf8
        case .number(let number): output += number.text.utf8
        case .string(let text): String.appendJSON(text, to: &output, asciiOnly: style.asciiOnly)
        case .array(let elements):
            container("[", "]", count: elements.count, depth) { writer, place in
                writer.write(elements[place], depth: depth + 1)
            }
        case .object(let object):
            let order =
                style.sortKeys
                ? object.keys.indices.sorted { object.keys[$0] < object.keys[$1] }
                : Array(object.keys.indices)
            container("{", "}", count: object.count, depth) { writer, place in
                String.appendJSON(
                    object.keys[order[place]],
                    to: &writer.output,
                    asciiOnly: writer.style.asciiOnly
                )
                writer.output += writer.style.keySeparator.utf8
                writer.write(object.values[order[place]], depth: depth + 1)
            }
        }
    }

    private mutating func container(
        _ open: Unicode.Scalar,
        _ close: Unicode.Scalar,
        count: Int,
        _ depth: Int,
        _ item: (inout JSONWriter, Int) -> Void
    ) {
        output.append(UInt8(ascii: open))
        for place in 0..<count {
            if place > 0 { output += style.itemSeparator.utf8 }
            newline(depth + 1)
            item(&self, place)
        }
        if count > 0 { newline(depth) }
        output.append(UInt8(ascii: close))
    }

    private mutating func newline(_ depth: Int) {
        guard let indent = style.indent else { return }
        output.append(0x0A)
        output += repeatElement(0x20, count: indent * depth)
    }
}
