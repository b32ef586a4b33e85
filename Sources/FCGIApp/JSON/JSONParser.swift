/// Why a text is not the JSON that we accept, and where.
public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong, in words that quote nothing of the input.
    public let reason: String
    /// Offset in bytes from the start of the text.
    public let offset: Int

    /// One line for people.
    public var description: String { "\(reason) at byte \(offset)" }
}

/// Bounds of a document; exceeding one is a `JSONError`.
public struct JSONLimits: Sendable {
    /// Nesting of arrays and objects; default 64.
    public var depth = 64
    /// Values in the whole document; default 4 million.
    public var values = 4_000_000

    /// The default bounds.
    public init() {}
}

extension JSONValue {
    /// Reads one JSON text (RFC 8259, UTF-8).
    ///
    /// Duplicate names in an object are refused, since readers disagree about which one counts.
    /// The parser keeps its own stack: depth costs no thread stack.
    /// - Throws: `JSONError`.
    public static func parse(_ bytes: some Sequence<UInt8>, limits: JSONLimits = JSONLimits())
        throws(JSONError) -> JSONValue
    {
        typealias Outcome = Result<JSONValue, JSONError>
        func read(_ buffer: UnsafeBufferPointer<UInt8>) -> Outcome {
            do throws(JSONError) {
                var parser = JSONParser(bytes: buffer, limits: limits)
                return .success(try parser.document())
            } catch { return .failure(error) }
        }
        let outcome =
            bytes.withContiguousStorageIfAvailable(read)
            ?? Array(bytes).withUnsafeBufferPointer(read)
        return try outcome.get()
    }

    /// Reads one JSON text.
    /// - Throws: `JSONError`.
    public static func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError)
        -> JSONValue
    { try parse(text.utf8, limits: limits) }
}

/// The reader: one pass, a stack of open containers, no recursion.
private struct JSONParser {
    /// A container that is not closed yet, changed in place (a copy would make long ones quadratic).
    private struct Open {
        /// Nil in an array.
        var key: String?
        var elements: [JSONValue] = []
        var members = JSONObject()

        /// False where the name is taken.
        mutating func add(_ value: JSONValue) -> Bool {
            if let key { return members.appendIfNew(key, value) }
            elements.append(value)
            return true
        }

        var value: JSONValue { key == nil ? .array(elements) : .object(members) }
        var end: UInt8 { key == nil ? UInt8(ascii: "]") : UInt8(ascii: "}") }
    }

    let bytes: UnsafeBufferPointer<UInt8>
    let limits: JSONLimits
    var at = 0
    var values = 0

    init(bytes: UnsafeBufferPointer<UInt8>, limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    mutating func document() throws(JSONError) -> JSONValue {
        var stack: [Open] = []
        skipSpace()
        while true {
            var value: JSONValue
            // Open containers until there is a finished value.
            let byte = try peek()
            values += 1
            guard values <= limits.values else { throw fail("too many values") }
            if byte == UInt8(ascii: "[") {
                at += 1
                skipSpace()
                guard try peek() == UInt8(ascii: "]") else {
                    guard stack.count < limits.depth else { throw fail("nested too deeply") }
                    stack.append(Open())
                    continue
                }
                at += 1
                value = .array([])
            } else if byte == UInt8(ascii: "{") {
                at += 1
                skipSpace()
                guard try peek() == UInt8(ascii: "}") else {
                    guard stack.count < limits.depth else { throw fail("nested too deeply") }
                    stack.append(Open(key: try name()))
                    continue
                }
                at += 1
                value = .object(JSONObject())
            } else {
                value = try scalar(byte)
            }
            // Put it into the container around it, and close what it completes.
            while true {
                skipSpace()
                guard let top = stack.indices.last else {
                    guard at == bytes.count else { throw fail("text after the value") }
                    return value
                }
                guard stack[top].add(value) else { throw fail("duplicate name in an object") }
                let next = try peek()
                if next == UInt8(ascii: ",") {
                    at += 1
                    skipSpace()
                    if stack[top].key != nil { stack[top].key = try name() }
                    break
                }
                guard next == stack[top].end else { throw fail("expected ',' or the end") }
                at += 1
                value = stack[top].value
                stack.removeLast()
            }
        }
    }

    private func fail(_ reason: String) -> JSONError { JSONError(reason: reason, offset: at) }

    private func peek() throws(JSONError) -> UInt8 {
        guard at < bytes.count else { throw fail("unexpected end") }
        return bytes[at]
    }

    private mutating func skipSpace() {
        while at < bytes.count {
            switch bytes[at] {
            case 0x20, 0x0A, 0x0D, 0x09: at += 1
            default: return
            }
        }
    }

    /// A member's name and the colon; leaves the position at the value.
    private mutating func name() throws(JSONError) -> String {
        guard try peek() == UInt8(ascii: "\"") else { throw fail("expected a name") }
        let key = try string()
        skipSpace()
        guard try peek() == UInt8(ascii: ":") else { throw fail("expected ':'") }
        at += 1
        skipSpace()
        return key
    }

    private mutating func scalar(_ byte: UInt8) throws(JSONError) -> JSONValue {
        switch byte {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONError)
        -> JSONValue
    {
        let end = at + text.utf8CodeUnitCount
        guard end <= bytes.count,
            (at..<end).allSatisfy({ bytes[$0] == text.utf8Start[$0 - at] })
        else { throw fail("unexpected character") }
        at = end
        return value
    }

    private mutating func digits() throws(JSONError) {
        let start = at
        while at < bytes.count, bytes[at] &- 0x30 < 10 { at += 1 }
        guard at > start else { throw fail("expected a digit") }
    }

    private mutating func number() throws(JSONError) -> JSONNumber {
        let start = at
        if bytes[at] == UInt8(ascii: "-") { at += 1 }
        guard at < bytes.count, bytes[at] &- 0x30 < 10 else {
            at = start
            throw fail("unexpected character")
        }
        if bytes[at] == UInt8(ascii: "0") { at += 1 } else { try digits() }
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            at += 1
            try digits()
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") {
                at += 1
            }
            try digits()
        }
        guard at - start <= 400 else { throw fail("number too long") }
        return JSONNumber(validated: String(decoding: bytes[start..<at], as: UTF8.self))
    }

    private mutating func string() throws(JSONError) -> String {
        at += 1
        let start = at
        // Most strings have no escape: find the end, validate, copy once.
        try skipPlain()
        var text = try utf8(start..<at)
        while try peek() != UInt8(ascii: "\"") {
            if bytes[at] == UInt8(ascii: "\\") {
                text.unicodeScalars.append(try escape())
            } else {
                let run = at
                try skipPlain()
                text += try utf8(run..<at)
            }
        }
        at += 1
        return text
    }

    /// Goes to the next quote or backslash, or to the end.
    private mutating func skipPlain() throws(JSONError) {
        // Sixteen bytes at once: a picture in base64 is megabytes.
        let quote = SIMD16<UInt8>(repeating: UInt8(ascii: "\""))
        let backslash = SIMD16<UInt8>(repeating: UInt8(ascii: "\\"))
        let space = SIMD16<UInt8>(repeating: 0x20)
        let start = UnsafeRawPointer(bytes.baseAddress)
        while let start, at + 16 <= bytes.count {
            let next = start.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt8>.self)
            if any(next .== quote .| next .== backslash .| next .< space) { break }
            at += 16
        }
        while at < bytes.count, bytes[at] != UInt8(ascii: "\""), bytes[at] != UInt8(ascii: "\\") {
            guard bytes[at] >= 0x20 else { throw fail("control character in a string") }
            at += 1
        }
    }

    private func utf8(_ range: Range<Int>) throws(JSONError) -> String {
        guard let text = String(validating: bytes[range], as: UTF8.self) else {
            throw fail("invalid UTF-8 in a string")
        }
        return text
    }

    private mutating func escape() throws(JSONError) -> Unicode.Scalar {
        at += 1
        let code = try peek()
        at += 1
        switch code {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicode()
        default: throw fail("unknown escape")
        }
    }

    /// `XXXX` after `\u`, with its low surrogate where one is due.
    ///
    /// A lone surrogate reads as U+FFFD, as the clients that send one (cut emoji) expect an
    /// answer.
    private mutating func unicode() throws(JSONError) -> Unicode.Scalar {
        let first = try hex4()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"),
            bytes[at + 1] == UInt8(ascii: "u")
        else { return "\u{FFFD}" }
        let mark = at
        at += 2
        let second = try hex4()
        guard second >= 0xDC00, second < 0xE000,
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else {
            at = mark
            return "\u{FFFD}"
        }
        return scalar
    }

    private mutating func hex4() throws(JSONError) -> UInt32 {
        guard at + 4 <= bytes.count else { throw fail("unexpected end") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else {
                throw fail("expected four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }
}
