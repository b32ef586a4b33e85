// Filters of text.
extension Interpreter {
    private static let textFilters: Set<String> = [
        "trim", "upper", "lower", "capitalize", "title", "string", "safe", "replace", "indent",
        "escape", "e", "forceescape", "urlencode", "striptags", "wordcount", "truncate", "center",
        "format",
    ]

    /// The filter begins a word elsewhere than the method: behind white space, a dash or a bracket.
    private static func titled(_ text: TaintedText) -> TaintedText {
        var isFirst = true
        return text.mapped { scalar in
            defer {
                isFirst =
                    TaintedText.isPythonSpace(scalar) || "-({[<".unicodeScalars.contains(scalar)
            }
            return isFirst ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
        }
    }

    /// Applies a filter of text; nil where there is none of this name.
    func textFilter(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError)
        -> Value?
    {
        guard Self.textFilters.contains(name) else { return nil }
        if name == "safe", !value.isUndefined { return value }
        let text = try printed(value)
        try step(text.count >> 4)
        func method(_ name: String, _ arguments: CallValues = CallValues()) throws(TemplateError)
            -> Value
        {
            try Methods.call(name, on: .string(text), arguments, self)
        }
        switch name {
        case "trim":
            if let set = values.value(0, "chars"), case .string(let characters) = set {
                return .string(text.stripped(characters))
            }
            return .string(text.stripped())
        case "upper", "lower", "capitalize": return try method(name)
        case "title": return .string(Self.titled(text))
        case "string", "safe": return .string(text)
        case "replace":
            guard let old = try printed(values.value(0, "old")),
                let new = try printed(values.value(1, "new"))
            else {
                throw TemplateError(.runtime, "replace needs two arguments")
            }
            var arguments = CallValues(positional: [.string(old), .string(new)])
            if let count = values.value(2, "count")?.whole {
                arguments.positional.append(.int(count))
            }
            return try method("replace", arguments)
        case "indent": return .string(try indented(text, values))
        case "escape", "e", "forceescape":
            return .string(
                text.mapped { scalar in
                    switch scalar {
                    case "&": "&amp;"
                    case "<": "&lt;"
                    case ">": "&gt;"
                    case "\"": "&#34;"
                    case "'": "&#39;"
                    default: String(scalar)
                    }
                }
            )
        case "urlencode":
            var result = ""
            for byte in text.string.utf8 {
                let isPlain =
                    byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || "-._~/".utf8.contains(byte)
                let digits = String(byte, radix: 16, uppercase: true)
                result +=
                    isPlain
                    ? String(Unicode.Scalar(byte)) : "%\(digits.count < 2 ? "0" : "")\(digits)"
            }
            return .string(TaintedText(result, madeFrom: [text]))
        case "striptags":
            var kept = TaintedText()
            var inside = false
            for (place, scalar) in text.scalars.enumerated() {
                if scalar == "<" { inside = true }
                if !inside { kept.append(text, place..<place + 1) }
                if scalar == ">" { inside = false }
            }
            return .string(join(kept.words(), TaintedText(" ")))
        case "wordcount": return .int(text.words().count)
        case "truncate": return .string(try truncated(text, values))
        case "center":
            let width = min(values.value(0, "width")?.whole ?? 80, limits.characters)
            try grow(width)
            return .string(Filters.padded(text, width, TaintedText(" "), "center"))
        case "format":
            let arguments: Value
            if values.named.isEmpty {
                arguments = .tuple(Value.Items(values.positional))
            } else {
                var dict = Value.Dict()
                for (key, item) in values.named { dict.set(.text(key), item) }
                arguments = .dict(dict)
            }
            return .string(try Formatting.percent(text, arguments, self))
        default: return nil
        }
    }

    private func join(_ parts: [TaintedText], _ separator: TaintedText) -> TaintedText {
        var result = TaintedText()
        for (place, part) in parts.enumerated() {
            if place > 0 { result.append(separator) }
            result.append(part)
        }
        return result
    }

    private func indented(_ text: TaintedText, _ values: CallValues) throws(TemplateError)
        -> TaintedText
    {
        let width: TaintedText
        switch values.value(0, "width") {
        case .string(let given)?: width = given
        case let number:
            let count = number?.whole ?? 4
            guard count <= 10_000 else { throw TemplateError(.limit, "indent too wide") }
            width = TaintedText(String(repeating: " ", count: max(0, count)))
        }
        let first = values.value(1, "first")?.isTrue ?? false
        let blank = values.value(2, "blank")?.isTrue ?? false
        var body = text
        body.append(TaintedText("\n"))
        let lines = Methods.lines(body, keepEnds: false)
        try grow(text.count + lines.count * width.count)
        var result = TaintedText()
        for (place, line) in lines.enumerated() {
            if place > 0 { result.append(TaintedText("\n")) }
            if place > 0 ? (blank || !line.isEmpty) : first { result.append(width) }
            result.append(line)
        }
        return result
    }

    private func truncated(_ text: TaintedText, _ values: CallValues) throws(TemplateError)
        -> TaintedText
    {
        let length = max(0, values.value(0, "length")?.whole ?? 255)
        let kill = values.value(1, "killwords")?.isTrue ?? false
        let end = try printed(values.value(2, "end")) ?? TaintedText("...")
        let leeway = max(0, values.value(3, "leeway")?.whole ?? 5)
        guard text.count > length, text.count - length > leeway else { return text }
        var kept = text[0..<max(0, min(text.count, length - end.count))]
        if !kill, let space = kept.scalars.lastIndex(of: " ") { kept = kept[0..<space] }
        kept.append(end)
        return kept
    }
}
