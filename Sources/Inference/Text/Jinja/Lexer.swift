/// A piece of a template's source.
struct Token {
    enum Kind: Equatable {
        /// Text outside of tags.
        case data
        /// `{%`, `%}`, `{{`, `}}`
        case blockBegin, blockEnd, variableBegin, variableEnd
        case name, string, integer, float, symbol
        case end
    }

    let kind: Kind
    let text: String
    let line: Int
}

/// Cuts a template into tokens with trim_blocks and lstrip_blocks on, as transformers sets them.
struct Lexer {
    private let source: [Unicode.Scalar]
    private var at = 0
    private var line = 1
    private var tokens: [Token] = []

    init(_ text: String) {
        var normal = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        // keep_trailing_newline is off.
        if normal.hasSuffix("\n") { normal.removeLast() }
        source = Array(normal.unicodeScalars)
    }

    /// - Throws: `TemplateError` of kind syntax.
    mutating func run() throws(TemplateError) -> [Token] {
        var stripLeft = false
        while at < source.count {
            let (text, opening) = data(stripLeft: stripLeft)
            if !text.isEmpty { add(.data, text) }
            guard let opening else { break }
            stripLeft = false
            switch opening {
            case "{#": stripLeft = try comment()
            case "{%":
                if let raw = try rawBlock() {
                    stripLeft = raw
                } else {
                    stripLeft = try tag(.blockBegin, "%}", .blockEnd)
                }
            default: stripLeft = try tag(.variableBegin, "}}", .variableEnd)
            }
        }
        add(.end, "")
        return tokens
    }

    private func fail(_ message: String) -> TemplateError {
        TemplateError(.syntax, "\(message) (line \(line))")
    }

    private mutating func add(_ kind: Token.Kind, _ text: String) {
        tokens.append(Token(kind: kind, text: text, line: line))
    }

    private func peek(_ text: StaticString, at place: Int) -> Bool {
        guard place + text.utf8CodeUnitCount <= source.count else { return false }
        for offset in 0..<text.utf8CodeUnitCount
        where source[place + offset].value != UInt32(text.utf8Start[offset]) {
            return false
        }
        return true
    }

    /// Text up to the next tag, which is consumed with its sign.
    private mutating func data(stripLeft: Bool) -> (String, String?) {
        let start = at
        var opening: String?
        while at < source.count {
            if source[at] == "{" {
                if peek("{%", at: at) {
                    opening = "{%"
                } else if peek("{{", at: at) {
                    opening = "{{"
                } else if peek("{#", at: at) {
                    opening = "{#"
                }
                if opening != nil { break }
            }
            at += 1
        }
        var low = start
        var high = at
        if stripLeft { while low < high, TaintedText.isPythonSpace(source[low]) { low += 1 } }
        let lines = source[start..<at].reduce(0) { $0 + ($1 == "\n" ? 1 : 0) }
        if opening != nil {
            at += 2
            if at < source.count, source[at] == "-" {
                at += 1
                while high > low, TaintedText.isPythonSpace(source[high - 1]) { high -= 1 }
            } else if at < source.count, source[at] == "+" {
                at += 1
            } else if opening != "{{" {
                // lstrip_blocks: spaces between the line's start and the tag go.
                var edge = high
                while edge > start, source[edge - 1] == " " || source[edge - 1] == "\t" {
                    edge -= 1
                }
                let atLineStart =
                    edge == start
                    ? (start == 0 || source[start - 1] == "\n") : source[edge - 1] == "\n"
                if atLineStart { high = max(low, edge) }
            }
        }
        let text = string(low, high)
        line += lines
        return (text, opening)
    }

    private func string(_ low: Int, _ high: Int) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: source[low..<high])
        return String(view)
    }

    /// Whether a closing sign strips what follows; takes one newline after `%}` and `#}` otherwise.
    private mutating func close(_ sign: Unicode.Scalar?, trims: Bool) -> Bool {
        if sign == "-" { return true }
        if trims, sign != "+", at < source.count, source[at] == "\n" {
            at += 1
            line += 1
        }
        return false
    }

    private mutating func comment() throws(TemplateError) -> Bool {
        while at < source.count, !peek("#}", at: at) {
            if source[at] == "\n" { line += 1 }
            at += 1
        }
        guard at < source.count else { throw fail("a comment does not end") }
        let sign = source[at - 1]
        at += 2
        return close(sign, trims: true)
    }

    /// `{% raw %}…{% endraw %}`.
    ///
    /// Nil where the tag is another one. The tag's opening is consumed.
    private mutating func rawBlock() throws(TemplateError) -> Bool? {
        var place = at
        func skipSpace(_ place: inout Int) {
            while place < source.count, TaintedText.isPythonSpace(source[place]) { place += 1 }
        }
        skipSpace(&place)
        guard peek("raw", at: place) else { return nil }
        place += 3
        skipSpace(&place)
        var sign: Unicode.Scalar?
        if place < source.count, source[place] == "-" || source[place] == "+" {
            sign = source[place]
            place += 1
        }
        guard peek("%}", at: place) else { return nil }
        at = place + 2
        let strips = close(sign, trims: true)
        let start = at
        while at < source.count {
            guard peek("{%", at: at) else {
                at += 1
                continue
            }
            var inner = at + 2
            var left: Unicode.Scalar?
            if inner < source.count, source[inner] == "-" || source[inner] == "+" {
                left = source[inner]
                inner += 1
            }
            skipSpace(&inner)
            guard peek("endraw", at: inner) else {
                at += 1
                continue
            }
            inner += 6
            skipSpace(&inner)
            var right: Unicode.Scalar?
            if inner < source.count, source[inner] == "-" || source[inner] == "+" {
                right = source[inner]
                inner += 1
            }
            guard peek("%}", at: inner) else {
                at += 1
                continue
            }
            var text = TaintedText(string(start, at))
            if strips { text = text.stripped(right: false) }
            if left == "-" { text = text.stripped(left: false) }
            add(.data, text.string)
            at = inner + 2
            return close(right, trims: true)
        }
        throw fail("a raw block does not end")
    }

    private mutating func tag(_ begin: Token.Kind, _ closing: StaticString, _ end: Token.Kind)
        throws(TemplateError) -> Bool
    {
        add(begin, "")
        var brackets: [Unicode.Scalar] = []
        while at < source.count {
            let scalar = source[at]
            if TaintedText.isPythonSpace(scalar) {
                if scalar == "\n" { line += 1 }
                at += 1
                continue
            }
            if brackets.isEmpty {
                if scalar == "-" || scalar == "+", peek(closing, at: at + 1) {
                    at += 3
                    add(end, "")
                    return close(scalar, trims: end == .blockEnd)
                }
                if peek(closing, at: at) {
                    at += 2
                    add(end, "")
                    return close(nil, trims: end == .blockEnd)
                }
            }
            try word(&brackets)
        }
        throw fail("a tag does not end")
    }

    private mutating func word(_ brackets: inout [Unicode.Scalar]) throws(TemplateError) {
        let scalar = source[at]
        let start = at
        if scalar == "'" || scalar == "\"" { return try quoted(scalar) }
        if ("0"..."9").contains(scalar) { return try number() }
        if scalar == "_" || scalar.properties.isXIDStart {
            while at < source.count, source[at] == "_" || source[at].properties.isXIDContinue {
                at += 1
            }
            return add(.name, string(start, at))
        }
        for symbol in ["**", "//", "==", "!=", "<=", ">="] as [StaticString]
        where peek(symbol, at: at) {
            at += 2
            return add(.symbol, "\(symbol)")
        }
        guard "+-*/%~<>=.,:|()[]{};".unicodeScalars.contains(scalar) else {
            throw fail("unexpected character")
        }
        switch scalar {
        case "(": brackets.append(")")
        case "[": brackets.append("]")
        case "{": brackets.append("}")
        case ")", "]", "}":
            guard brackets.popLast() == scalar else { throw fail("brackets do not match") }
        default: break
        }
        at += 1
        add(.symbol, String(Character(scalar)))
    }

    private mutating func number() throws(TemplateError) {
        let start = at
        let radices: [Unicode.Scalar: Int] = ["x": 16, "X": 16, "o": 8, "O": 8, "b": 2, "B": 2]
        if source[at] == "0", at + 1 < source.count, let radix = radices[source[at + 1]] {
            at += 2
            while at < source.count, source[at].properties.isASCIIHexDigit || source[at] == "_" {
                at += 1
            }
            let digits = string(start + 2, at).replacing("_", with: "")
            guard let value = Int(digits, radix: radix) else { throw fail("not a number") }
            return add(.integer, "\(value)")
        }
        var isFloat = false
        func isDigit(_ place: Int) -> Bool {
            place < source.count && ("0"..."9").contains(source[place])
        }
        while isDigit(at) || (at < source.count && source[at] == "_" && isDigit(at + 1)) { at += 1 }
        if at < source.count, source[at] == ".", isDigit(at + 1) {
            isFloat = true
            at += 1
            while isDigit(at) { at += 1 }
        }
        if at < source.count, source[at] == "e" || source[at] == "E" {
            var place = at + 1
            if place < source.count, source[place] == "+" || source[place] == "-" { place += 1 }
            if isDigit(place) {
                isFloat = true
                at = place
                while isDigit(at) { at += 1 }
            }
        }
        add(isFloat ? .float : .integer, string(start, at).replacing("_", with: ""))
    }

    private mutating func quoted(_ quote: Unicode.Scalar) throws(TemplateError) {
        let first = line
        at += 1
        var text = String.UnicodeScalarView()
        while at < source.count, source[at] != quote {
            if source[at] == "\n" { line += 1 }
            if source[at] == "\\", at + 1 < source.count {
                at += 1
                escape(&text)
            } else {
                text.append(source[at])
                at += 1
            }
        }
        guard at < source.count else {
            throw fail("a string that begins on line \(first) does not end")
        }
        at += 1
        add(.string, String(text))
    }

    private mutating func escape(_ text: inout String.UnicodeScalarView) {
        let code = source[at]
        at += 1
        switch code {
        case "n": text.append("\n")
        case "t": text.append("\t")
        case "r": text.append("\r")
        case "b": text.append("\u{8}")
        case "f": text.append("\u{c}")
        case "v": text.append("\u{b}")
        case "a": text.append("\u{7}")
        case "0": text.append("\0")
        case "\\", "'", "\"": text.append(code)
        case "\n": line += 1
        case "x": hex(2, code, &text)
        case "u": hex(4, code, &text)
        case "U": hex(8, code, &text)
        default:
            text.append("\\")
            text.append(code)
        }
    }

    private mutating func hex(
        _ count: Int,
        _ code: Unicode.Scalar,
        _ text: inout String.UnicodeScalarView
    ) {
        let end = min(at + count, source.count)
        if let value = UInt32(string(at, end), radix: 16), end - at == count,
            let scalar = Unicode.Scalar(value)
        {
            text.append(scalar)
            at = end
        } else {
            text.append("\\")
            text.append(code)
        }
    }
}
