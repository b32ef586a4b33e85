internal import Glibc

/// Python's `%` formatting and `str.format`, as far as templates use them.
enum Formatting {
    /// `text % arguments`.
    static func percent(_ text: TaintedText, _ arguments: Value, _ interpreter: Interpreter)
        throws(TemplateError) -> TaintedText
    {
        var values: ArraySlice<Value>
        if case .tuple(let items) = arguments {
            values = items.values[...]
        } else {
            values = [arguments]
        }
        var result = TaintedText()
        var at = 0
        let scalars = text.scalars
        while at < scalars.count {
            guard scalars[at] == "%" else {
                let end = scalars[at...].firstIndex(of: "%") ?? scalars.count
                result.append(text, at..<end)
                at = end
                continue
            }
            try interpreter.step()
            at += 1
            var name: String?
            if at < scalars.count, scalars[at] == "(" {
                let end = scalars[at...].firstIndex(of: ")") ?? scalars.count - 1
                name = text[at + 1..<max(at + 1, end)].string
                at = end + 1
            }
            var spec = ""
            while at < scalars.count, "-+ #0123456789.".unicodeScalars.contains(scalars[at]) {
                spec.unicodeScalars.append(scalars[at])
                at += 1
            }
            guard at < scalars.count else { throw TemplateError(.runtime, "incomplete format") }
            let kind = scalars[at]
            at += 1
            if kind == "%" {
                result.append(TaintedText("%"))
                continue
            }
            let value: Value
            if let name {
                guard case .dict(let dict) = arguments, let item = dict[name] else {
                    throw TemplateError(.runtime, "format requires a mapping")
                }
                value = item
            } else {
                guard let first = values.popFirst() else {
                    throw TemplateError(.runtime, "not enough arguments for format string")
                }
                value = first
            }
            let part = try one(value, kind, spec, interpreter)
            try interpreter.grow(result.count + part.count, added: part.count)
            result.append(part)
        }
        return result
    }

    private static func one(
        _ value: Value,
        _ kind: Unicode.Scalar,
        _ spec: String,
        _ interpreter: Interpreter
    ) throws(TemplateError) -> TaintedText {
        switch kind {
        case "s", "r":
            try interpreter.grow(value.weight)
            let text = kind == "s" ? value.printed : TaintedText(value.repr, madeFrom: value)
            let halves = spec.split(separator: ".", omittingEmptySubsequences: false)
            var cut = text
            if halves.count > 1, let most = Int(halves[1]), most < text.count {
                cut = text[0..<most]
            }
            return try pad(cut, String(halves.first ?? ""), right: true)
        case "d", "i", "u", "x", "X", "o":
            guard let number = value.number, number.magnitude < 9e18 else {
                throw TemplateError(
                    .runtime,
                    "%\(kind) format: a number is required, not \(value.typeName)"
                )
            }
            let whole = value.whole ?? Int(number)
            var digits = String(
                whole.magnitude,
                radix: kind == "o" ? 8 : "xX".unicodeScalars.contains(kind) ? 16 : 10
            )
            if kind == "X" { digits = digits.uppercased() }
            return try pad(
                TaintedText((whole < 0 ? "-" : spec.contains("+") ? "+" : "") + digits),
                spec,
                right: false
            )
        case "f", "F", "e", "E", "g", "G":
            guard let number = value.number else {
                throw TemplateError(.runtime, "must be real number, not \(value.typeName)")
            }
            return TaintedText(try real(number, spec, kind))
        default: throw TemplateError(.runtime, "unsupported format character")
        }
    }

    /// C's printf of one number; the format is put together from checked parts.
    static func real(_ number: Double, _ spec: String, _ kind: Unicode.Scalar) throws(TemplateError)
        -> String
    {
        let halves = spec.split(separator: ".", omittingEmptySubsequences: false)
        guard halves.count <= 2, halves.allSatisfy({ $0.count <= 6 }),
            halves.count < 2 || (Int(halves[1]) ?? 0) <= 100,
            (Int(halves[0].filter(\.isNumber)) ?? 0) <= 1000
        else { throw TemplateError(.limit, "format too wide") }
        var buffer = [CChar](repeating: 0, count: 2048)
        let count = withVaList([number]) { vsnprintf(&buffer, buffer.count, "%\(spec)\(kind)", $0) }
        return String(
            decoding: buffer.prefix(max(0, min(Int(count), 2047))).map(UInt8.init(bitPattern:)),
            as: UTF8.self
        )
    }

    /// The width in a specification.
    private static func width(_ spec: String) throws(TemplateError) -> Int {
        let digits = spec.filter(\.isNumber)
        guard let width = digits.isEmpty ? 0 : Int(digits), width <= 10_000 else {
            throw TemplateError(.limit, "format too wide")
        }
        return width
    }

    private static func pad(_ text: TaintedText, _ spec: String, right: Bool)
        throws(TemplateError) -> TaintedText
    {
        let width = try width(spec)
        guard text.count < width else { return text }
        let isLeft = spec.contains("-")
        let fill = TaintedText(
            String(
                repeating: !isLeft && !right && spec.hasPrefix("0") ? "0" : " ",
                count: width - text.count
            )
        )
        var result = isLeft ? text : fill
        result.append(isLeft ? fill : text)
        return result
    }

    /// `text.format(…)` with `{}`, `{0}`, `{name}` and simple specifications.
    static func braces(_ text: TaintedText, _ values: CallValues, _ interpreter: Interpreter)
        throws(TemplateError) -> TaintedText
    {
        var result = TaintedText()
        var at = 0
        var next = 0
        let scalars = text.scalars
        while at < scalars.count {
            let scalar = scalars[at]
            if scalar == "{" || scalar == "}", at + 1 < scalars.count, scalars[at + 1] == scalar {
                result.append(text[at..<at + 1])
                at += 2
            } else if scalar == "{" {
                guard let end = scalars[at...].firstIndex(of: "}") else {
                    throw TemplateError(.runtime, "expected '}' before end of string")
                }
                let field = text[at + 1..<end].string
                let parts = field.split(
                    separator: ":",
                    maxSplits: 1,
                    omittingEmptySubsequences: false
                )
                let name = String(parts.first ?? "")
                let value: Value?
                if name.isEmpty {
                    value = values.positional.indices.contains(next) ? values.positional[next] : nil
                    next += 1
                } else if let place = Int(name) {
                    value =
                        values.positional.indices.contains(place) ? values.positional[place] : nil
                } else {
                    value = values.named.first { $0.0 == name }?.1
                }
                guard let value else {
                    throw TemplateError(.runtime, "format has no value for '\(name)'")
                }
                try interpreter.step()
                let part = try spec(value, parts.count > 1 ? String(parts[1]) : "", interpreter)
                try interpreter.grow(result.count + part.count, added: part.count)
                result.append(part)
                at = end + 1
            } else {
                let end =
                    scalars[(at + 1)...].firstIndex { $0 == "{" || $0 == "}" } ?? scalars.count
                result.append(text, at..<end)
                at = end
            }
        }
        return result
    }

    private static func spec(_ value: Value, _ spec: String, _ interpreter: Interpreter)
        throws(TemplateError) -> TaintedText
    {
        guard !spec.isEmpty else { return try interpreter.printed(value) }
        if let kind = spec.unicodeScalars.last, "feg".unicodeScalars.contains(kind),
            let number = value.number
        {
            return TaintedText(try real(number, String(spec.dropLast()), kind))
        }
        if spec.hasSuffix("d"), let whole = value.whole {
            return try pad(TaintedText(String(whole)), String(spec.dropLast()), right: false)
        }
        let width = try width(spec)
        let text = try interpreter.printed(value)
        guard text.count < width else { return text }
        let fill = TaintedText(String(repeating: " ", count: width - text.count))
        let right = spec.contains(">") || (!spec.contains("<") && value.number != nil)
        var result = right ? fill : text
        result.append(right ? text : fill)
        return result
    }
}
