/// Oniguruma's Ruby syntax, as tokenizer files use it, to PCRE2's.
///
/// Most is the same; what differs is rewritten, and what cannot be is refused by name.
///
/// - `\s`, `\w`, `\h` and their negations mean other sets: they are spelled out.
/// - `\p{Han}` means the script, not the script extensions.
/// - Sets nest and intersect: `[a[bc]]`, `[\p{L}&&[^\p{Han}]]`.
/// - `(?m)` lets the dot match line feeds, which is `(?s)`; anchors always see lines.
struct RegexTranslation {
    private static let whiteSpace = "\\p{White_Space}"
    /// With the six numbers of Latin-1 that Oniguruma adds.
    private static let word = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE"
    private static let properties: Set<String> = [
        "any", "alphabetic", "alpha", "uppercase", "upper", "lowercase", "lower", "whitespace",
        "emoji", "emojipresentation", "extendedpictographic", "ideographic", "assigned",
    ]
    /// POSIX names that Oniguruma also takes as properties.
    private static let posix: [String: String] = [
        "alnum": "\\p{Alphabetic}\\p{M}\\p{Nd}", "digit": "\\p{Nd}", "punct": "\\p{P}\\p{S}",
        "space": whiteSpace, "word": word, "cntrl": "\\p{Cc}", "xdigit": "0-9A-Fa-f",
    ]
    private static let categories: [String: String] = [
        "letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S",
        "separator": "Z", "other": "C",
    ]

    private let pattern: String
    private let input: [Unicode.Scalar]
    private var at = 0

    /// The pattern for PCRE2.
    /// - Throws: `TokenizerError.pattern`.
    static func translate(_ pattern: String) throws(TokenizerError) -> String {
        var translation = RegexTranslation(pattern: pattern, input: Array(pattern.unicodeScalars))
        return try translation.run()
    }

    private init(pattern: String, input: [Unicode.Scalar]) {
        self.pattern = pattern
        self.input = input
    }

    private func fail(_ reason: String) -> TokenizerError { .pattern(pattern, reason: reason) }

    private func peek(_ offset: Int = 0) -> Unicode.Scalar? {
        at + offset < input.count ? input[at + offset] : nil
    }

    private func starts(with text: String) -> Bool {
        input[at...].starts(with: text.unicodeScalars)
    }

    private mutating func run() throws(TokenizerError) -> String {
        var out = ""
        while let scalar = peek() {
            switch scalar {
            case "\\":
                let item = try escape()
                out +=
                    item.isSet ? (item.negated ? "[^\(item.text)]" : "[\(item.text)]") : item.text
            case "[":
                at += 1
                out += try set(depth: 0).expression
            case "(" where starts(with: "(?"): out += try group()
            case "}" where peek(1) == "+" && out.contains("{"):
                throw fail("'{n,m}+' repeats in Oniguruma but is possessive in PCRE2")
            default:
                out.unicodeScalars.append(scalar)
                at += 1
            }
        }
        return out
    }

    /// `(?` with its options, where `m` means what PCRE2 calls `s`.
    private mutating func group() throws(TokenizerError) -> String {
        var out = "(?"
        at += 2
        var options = ""
        var end = at
        while end < input.count, "imx-".unicodeScalars.contains(input[end]) {
            options.unicodeScalars.append(input[end])
            end += 1
        }
        guard end < input.count, input[end] == ":" || input[end] == ")", !options.isEmpty else {
            return out
        }
        at = end
        out += options.map { $0 == "m" ? "s" : String($0) }.joined()
        return out
    }

    /// A piece of a set, or a plain escape.
    private struct Item {
        var text: String
        var isSet = false
        var negated = false
    }

    /// The escape at `at`.
    private mutating func escape() throws(TokenizerError) -> Item {
        guard let code = peek(1) else { throw fail("ends with a backslash") }
        at += 2
        switch code {
        case "s": return Item(text: Self.whiteSpace, isSet: true)
        case "S": return Item(text: Self.whiteSpace, isSet: true, negated: true)
        case "w": return Item(text: Self.word, isSet: true)
        case "W": return Item(text: Self.word, isSet: true, negated: true)
        case "d": return Item(text: "\\p{Nd}", isSet: true)
        case "D": return Item(text: "\\p{Nd}", isSet: true, negated: true)
        case "h": return Item(text: "0-9A-Fa-f", isSet: true)
        case "H": return Item(text: "0-9A-Fa-f", isSet: true, negated: true)
        case "p", "P": return try property(negated: code == "P")
        case "u":
            var digits = ""
            while digits.count < 4, let digit = peek(), digit.properties.isASCIIHexDigit {
                digits.unicodeScalars.append(digit)
                at += 1
            }
            guard digits.count == 4 else { throw fail("'\\u' without four digits") }
            return Item(text: "\\x{\(digits)}")
        case "y", "Y", "O", "M", "C", "c", "K": throw fail("'\\\(code)' is not supported")
        default: return Item(text: "\\\(code)")
        }
    }

    /// `{Name}` or `{^Name}` after `\p`.
    private mutating func property(negated: Bool) throws(TokenizerError) -> Item {
        guard peek() == "{", let close = input[at...].firstIndex(of: "}") else {
            throw fail("'\\p' without a name in braces")
        }
        var name = ""
        name.unicodeScalars.append(contentsOf: input[(at + 1)..<close])
        at = close + 1
        var negated = negated
        if name.hasPrefix("^") {
            negated.toggle()
            name.removeFirst()
        }
        let plain = name.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" }
        if let posix = Self.posix[plain] { return Item(text: posix, isSet: true, negated: negated) }
        let letter = negated ? "\\P" : "\\p"
        if let category = Self.categories[plain] { return Item(text: "\(letter){\(category)}") }
        if plain.count <= 2 || Self.properties.contains(plain) {
            return Item(text: "\(letter){\(name)}")
        }
        return Item(text: "\(letter){sc:\(name)}")
    }

    /// A set as PCRE2 writes it: its content, and whether the content is excluded.
    private struct CharacterSet {
        var content = ""
        var negated = false
        /// Sets that a member must also be in.
        var also: [CharacterSet] = []

        var expression: String {
            let own = "[\(negated ? "^" : "")\(content)]"
            if also.isEmpty { return own }
            return "(?:" + also.map { "(?=\($0.expression))" }.joined() + own + ")"
        }
    }

    /// The set after its opening bracket.
    private mutating func set(depth: Int) throws(TokenizerError) -> CharacterSet {
        guard depth < 8 else { throw fail("sets nested too deeply") }
        var result = CharacterSet()
        if peek() == "^" {
            result.negated = true
            at += 1
        }
        var isFirst = true
        while let scalar = peek() {
            defer { isFirst = false }
            switch scalar {
            case "]" where !isFirst:
                at += 1
                return result
            case "]":
                result.content += "\\]"
                at += 1
            case "\\":
                let item = try escape()
                guard item.isSet, item.negated else {
                    result.content += item.text
                    continue
                }
                result.content += try complement(item.text)
            case "[" where peek(1) == ":":
                guard let close = input[at...].firstIndex(of: "]") else {
                    throw fail("unfinished POSIX class")
                }
                result.content.unicodeScalars.append(contentsOf: input[at...close])
                at = close + 1
            case "[":
                at += 1
                let inner = try set(depth: depth + 1)
                guard !inner.negated, inner.also.isEmpty else {
                    throw fail("a negated set inside a set")
                }
                result.content += inner.content
            case "&" where peek(1) == "&":
                at += 2
                try intersect(&result, depth: depth)
                return result
            default:
                result.content.unicodeScalars.append(scalar)
                at += 1
            }
        }
        throw fail("a set without its end")
    }

    /// The right side of `&&`, up to the end of the set.
    private mutating func intersect(_ result: inout CharacterSet, depth: Int)
        throws(TokenizerError)
    {
        guard !result.negated, peek() == "[" else {
            throw fail("this use of '&&' is not supported")
        }
        at += 1
        result.also.append(try set(depth: depth + 1))
        guard peek() == "]" else { throw fail("this use of '&&' is not supported") }
        at += 1
    }

    /// A negated escape inside a set.
    private func complement(_ text: String) throws(TokenizerError) -> String {
        switch text {
        case Self.whiteSpace: return "\\P{White_Space}"
        case "\\p{Nd}": return "\\P{Nd}"
        default: throw fail("this negated class inside a set is not supported")
        }
    }
}
