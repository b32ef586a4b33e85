internal import JSON

// How Python prints values: str, repr and json.dumps.
extension Value {
    /// `str(value)`; text keeps its marks, everything else is marked if anything in it is.
    var printed: TaintedText {
        switch self {
        case .undefined: return TaintedText()
        case .string(let text): return text
        default: return TaintedText(plain, madeFrom: self)
        }
    }

    private var plain: String {
        switch self {
        case .undefined: ""
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .int(let value): String(value)
        case .float(let value): Self.repr(value)
        case .string(let text): text.string
        default: repr
        }
    }

    /// A few characters for a message.
    var brief: String {
        switch self {
        case .string(let text) where text.count > 60: "\(Self.quoted(text[0..<60].string))…"
        case .list, .tuple, .dict: "a \(typeName)"
        default: repr
        }
    }

    /// `repr(value)`.
    var repr: String {
        switch self {
        case .undefined: return "Undefined"
        case .string(let text): return Self.quoted(text.string)
        case .list(let items): return "[" + items.values.map(\.repr).joined(separator: ", ") + "]"
        case .tuple(let items):
            return items.count == 1
                ? "(\(items[0].repr),)"
                : "(" + items.values.map(\.repr).joined(separator: ", ") + ")"
        case .dict(let dict):
            return "{"
                + zip(dict.keys, dict.values).map { "\($0.repr): \($1.repr)" }.joined(
                    separator: ", "
                ) + "}"
        case .namespace, .macro, .loop, .function, .method, .counter: return "<\(typeName)>"
        default: return plain
        }
    }

    /// `repr` of a float: shortest digits that read back the same; exponents from 1e16 and below 1e-4.
    static func repr(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        let text = "\(value)"
        let size = value.magnitude
        if text.contains("e"), size >= 1e-4, size < 1e16 { return decimal(text) }
        guard let mark = text.firstIndex(of: "e") else { return text }
        var mantissa = String(text[..<mark])
        if mantissa.hasSuffix(".0") { mantissa.removeLast(2) }
        var exponent = text[text.index(after: mark)...]
        let sign = exponent.hasPrefix("-") ? "-" : "+"
        if exponent.hasPrefix("-") || exponent.hasPrefix("+") { exponent.removeFirst() }
        return "\(mantissa)e\(sign)\(exponent.count < 2 ? "0" : "")\(exponent)"
    }

    private static func decimal(_ text: String) -> String {
        let parts = text.split(separator: "e")
        guard parts.count == 2, let exponent = Int(parts[1]) else { return text }
        let negative = parts[0].hasPrefix("-")
        let body = parts[0].drop { $0 == "-" }
        let halves = body.split(separator: ".")
        var digits = String(halves[0])
        let fraction = halves.count > 1 && halves[1] != "0" ? String(halves[1]) : ""
        var point = digits.count + exponent
        digits += fraction
        while point > digits.count { digits += "0" }
        while point <= 0 {
            digits = "0" + digits
            point += 1
        }
        let whole = digits.prefix(point)
        let rest = digits.dropFirst(point)
        return "\(negative ? "-" : "")\(whole).\(rest.isEmpty ? "0" : String(rest))"
    }

    private static func quoted(_ text: String) -> String {
        let quote: Character = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var output = String(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if Character(scalar) == quote {
                    output += "\\\(scalar)"
                } else if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    output += "\\x" + (digits.count < 2 ? "0" : "") + digits
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        return output + String(quote)
    }

    /// `json.dumps(value)`.
    /// - Throws: what Python raises for values without a JSON form.
    func json(_ style: JSONDump, depth: Int = 0) throws(TemplateError) -> String {
        guard depth < 100 else { throw TemplateError(.limit, "nested too deeply") }
        switch self {
        case .none: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .int(let value): return String(value)
        case .float(let value):
            if value.isNaN { return "NaN" }
            if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
            return Self.repr(value)
        case .string(let text): return Self.jsonString(text.string, style)
        case .list(let items), .tuple(let items):
            var parts: [String] = []
            for item in items { parts.append(try item.json(style, depth: depth + 1)) }
            return try style.wrap("[", parts, "]", depth)
        case .dict(let dict):
            var pairs = Array(zip(dict.keys, dict.values))
            if style.sortKeys {
                pairs.sort { $0.0.printed.scalars.lexicographicallyPrecedes($1.0.printed.scalars) }
            }
            var parts: [String] = []
            for (key, value) in pairs {
                let name: String
                switch key {
                case .string(let text): name = Self.jsonString(text.string, style)
                case .bool, .none, .int, .float: name = "\"\(try key.json(style))\""
                default: throw TemplateError(.runtime, "keys must be str, int, float, bool or None")
                }
                parts.append(name + style.keySeparator + (try value.json(style, depth: depth + 1)))
            }
            return try style.wrap("{", parts, "}", depth)
        default:
            throw TemplateError(.runtime, "Object of type \(typeName) is not JSON serializable")
        }
    }

    private static func jsonString(_ text: String, _ style: JSONDump) -> String {
        var bytes: [UInt8] = []
        String.appendJSON(text, to: &bytes, asciiOnly: style.asciiOnly)
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Interpreter {
    /// `str(value)`, where it is not too long.
    func printed(_ value: Value) throws(TemplateError) -> TaintedText {
        if case .string(let text) = value { return text }
        try grow(value.weight)
        return value.printed
    }

    /// The same of an argument, where it was given.
    func printed(_ value: Value?) throws(TemplateError) -> TaintedText? {
        guard let value else { return nil }
        return try printed(value)
    }
}

/// The arguments of `json.dumps`.
struct JSONDump {
    var indent: String?
    var itemSeparator = ", "
    var keySeparator = ": "
    var asciiOnly = false
    var sortKeys = false

    /// Characters that may come out.
    var most = Int.max

    /// Throws where the separators make far more of it than the values are.
    func wrap(_ open: String, _ parts: [String], _ close: String, _ depth: Int)
        throws(TemplateError) -> String
    {
        let each = itemSeparator.utf8.count + (indent?.utf8.count ?? 0) * (depth + 1)
        let (between, overflow) = each.multipliedReportingOverflow(by: parts.count)
        let text = parts.reduce(0) { $0 + $1.utf8.count }
        guard !overflow, between <= most, text <= 4 * most else {
            throw TemplateError(.limit, "grew too large")
        }
        guard let indent, !parts.isEmpty else {
            return open + parts.joined(separator: itemSeparator) + close
        }
        let inner = "\n" + String(repeating: indent, count: depth + 1)
        return open + inner + parts.joined(separator: itemSeparator + inner) + "\n"
            + String(repeating: indent, count: depth) + close
    }
}
