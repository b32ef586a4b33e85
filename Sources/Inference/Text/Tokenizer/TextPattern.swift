/// What splitting and replacing search for.
enum TextPattern: Sendable {
    case literal([UInt8])
    case regex(RegexPattern)
    /// A regular expression that is known: its matches cover the text.
    case words(WordPattern)
    /// One scalar with any of these classes.
    case scalar(UnicodeClasses)
    /// `\w+|[^\w\s]+`.
    case wordsAndSymbols

    /// The pattern `{"String": …}` or `{"Regex": …}`.
    /// - Throws: `TokenizerError.pattern`.
    static func regex(_ text: String) throws(TokenizerError) -> TextPattern {
        if let known = WordPattern.known[text] { return .words(known) }
        return .regex(try RegexPattern(text))
    }

    /// The matches inside `range`, in order, without overlap.
    func matches(in text: UnsafeBufferPointer<UInt8>, range: Range<Int>) -> [Range<Int>] {
        guard let base = text.baseAddress, !range.isEmpty else { return [] }
        switch self {
        case .regex(let pattern): return pattern.matches(in: text, range: range)
        case .literal(let wanted): return Self.occurrences(of: wanted, in: text, range)
        case .words(let pattern):
            var found: [Range<Int>] = []
            WordScanner(text: base).forEachWord(pattern, in: range) { found.append($0..<$1) }
            return found
        case .scalar(let classes):
            return Self.runs(base, range) { classes.rawValue & $0 != 0 ? ($0, true) : nil }
        case .wordsAndSymbols:
            let word = UnicodeClasses.word.rawValue
            let space = UnicodeClasses.space.rawValue
            return Self.runs(base, range) { classes in
                if classes & word != 0 { return (1, false) }
                return classes & space != 0 ? nil : (2, false)
            }
        }
    }

    /// Runs of scalars of one kind; nil is no match, and an `alone` scalar is a match by itself.
    private static func runs(
        _ base: UnsafePointer<UInt8>,
        _ range: Range<Int>,
        kind: (UInt8) -> (kind: UInt8, alone: Bool)?
    ) -> [Range<Int>] {
        let scanner = WordScanner(text: base)
        var found: [Range<Int>] = []
        var open: (start: Int, kind: UInt8)?
        var at = range.lowerBound
        while at < range.upperBound {
            let next = scanner.peek(at)
            let this = kind(next.classes)
            if let run = open, this == nil || this?.alone == true || this?.kind != run.kind {
                found.append(run.start..<at)
                open = nil
            }
            if let this {
                if this.alone {
                    found.append(at..<(at + next.length))
                } else if open == nil {
                    open = (at, this.kind)
                }
            }
            at += next.length
        }
        if let open { found.append(open.start..<range.upperBound) }
        return found
    }

    private static func occurrences(
        of wanted: [UInt8],
        in text: UnsafeBufferPointer<UInt8>,
        _ range: Range<Int>
    ) -> [Range<Int>] {
        guard let first = wanted.first else { return [] }
        var found: [Range<Int>] = []
        var at = range.lowerBound
        while at + wanted.count <= range.upperBound {
            if text[at] == first, text[at..<(at + wanted.count)].elementsEqual(wanted) {
                found.append(at..<(at + wanted.count))
                at += wanted.count
            } else {
                at += 1
            }
        }
        return found
    }
}
