/// The pre-tokenizer patterns of the common models, written by hand: one pass, no backtracking, and
/// exactly the words that the regular expressions give.
///
/// Linear in the length of the text.
enum WordPattern: Sendable, Hashable {
    /// GPT-4's pattern and its descendants: Qwen2 (`digits` 1) and Llama 3 (`digits` 3); with
    /// `marks`, combining marks belong to words (Qwen3.5).
    case cl100k(digits: Int, marks: Bool)
    /// GPT-2.
    case gpt2
    /// Each number character alone, the text between them as GPT-2 (SmolLM2, StarCoder).
    case digitsThenGPT2

    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let tail = "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    private static let words = "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"

    /// GPT-2's regular expression.
    static let gpt2Text =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

    /// The regular expressions that are known, and what stands for them.
    static let known: [String: WordPattern] = [
        gpt2Text: .gpt2,
        contractions + words + "\\p{N}| ?[^\\s\\p{L}\\p{N}]+" + tail:
            .cl100k(digits: 1, marks: false),
        contractions + words + "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+" + tail:
            .cl100k(digits: 3, marks: false),
        contractions
            + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+" + tail:
            .cl100k(digits: 1, marks: true),
    ]
}

/// Walks over valid UTF-8 and finds the ends of words.
struct WordScanner {
    private typealias Class = UnicodeClasses

    let text: UnsafePointer<UInt8>
    let table: UnsafePointer<UInt8> = UnicodeClasses.table

    private let letter = UnicodeClasses.letter.rawValue
    private let number = UnicodeClasses.number.rawValue
    private let space = UnicodeClasses.space.rawValue
    private let newline = UnicodeClasses.newline.rawValue

    init(text: UnsafePointer<UInt8>) { self.text = text }

    /// Calls `body` with the start and end of each word in `range`; the words cover it.
    @inline(__always)
    func forEachWord(_ pattern: WordPattern, in range: Range<Int>, _ body: (Int, Int) -> Void) {
        var at = range.lowerBound
        let end = range.upperBound
        switch pattern {
        case .cl100k(let digits, let marks):
            let letters = marks ? letter | UnicodeClasses.mark.rawValue : letter
            while at < end {
                let next = cl100k(at, end, digits: digits, letters: letters)
                body(at, next)
                at = next
            }
        case .gpt2:
            while at < end {
                let next = gpt2(at, end)
                body(at, next)
                at = next
            }
        case .digitsThenGPT2:
            while at < end {
                let stop = skip(until: UnicodeClasses.numeric.rawValue, at, end)
                while at < stop {
                    let next = gpt2(at, stop)
                    body(at, next)
                    at = next
                }
                if at < end {
                    let next = at + peek(at).length
                    body(at, next)
                    at = next
                }
            }
        }
    }

    /// The classes and the length in bytes of the scalar at `at`.
    @inline(__always) func peek(_ at: Int) -> (classes: UInt8, length: Int) {
        let first = text[at]
        if first < 0x80 { return (table[Int(first)], 1) }
        let scalar = scalar(at)
        return (UnicodeClasses.of(scalar.value, in: table), scalar.length)
    }

    /// The scalar at `at` and its length in bytes.
    @inline(__always) func scalar(_ at: Int) -> (value: UInt32, length: Int) {
        let first = UInt32(text[at])
        if first < 0x80 { return (first, 1) }
        let second = UInt32(text[at + 1] & 0x3F)
        if first < 0xE0 { return ((first & 0x1F) << 6 | second, 2) }
        let third = UInt32(text[at + 2] & 0x3F)
        if first < 0xF0 { return ((first & 0x0F) << 12 | second << 6 | third, 3) }
        return ((first & 0x07) << 18 | second << 12 | third << 6 | UInt32(text[at + 3] & 0x3F), 4)
    }

    /// The end of the run of scalars that have one of `classes`.
    @inline(__always) private func skip(while classes: UInt8, _ start: Int, _ end: Int) -> Int {
        var at = start
        while at < end {
            let next = peek(at)
            if next.classes & classes == 0 { break }
            at += next.length
        }
        return at
    }

    /// The end of the run of scalars that have none of `classes`.
    @inline(__always) private func skip(until classes: UInt8, _ start: Int, _ end: Int) -> Int {
        var at = start
        while at < end {
            let next = peek(at)
            if next.classes & classes != 0 { break }
            at += next.length
        }
        return at
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe; its end, or nil.
    @inline(__always) private func contraction(_ at: Int, _ end: Int, anyCase: Bool) -> Int? {
        guard at + 1 < end else { return nil }
        let fold: UInt8 = anyCase ? 0x20 : 0
        switch text[at + 1] | fold {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return at + 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"):
            return at + 2 < end && text[at + 2] | fold == UInt8(ascii: "e") ? at + 3 : nil
        case UInt8(ascii: "l"):
            return at + 2 < end && text[at + 2] | fold == UInt8(ascii: "l") ? at + 3 : nil
        case 0xC5 | fold:
            // U+017F, the long s, folds to s.
            guard anyCase, text[at + 1] == 0xC5, at + 2 < end, text[at + 2] == 0xBF else {
                return nil
            }
            return at + 3
        default: return nil
        }
    }

    private func cl100k(_ at: Int, _ end: Int, digits: Int, letters: UInt8) -> Int {
        let first = text[at]
        if first == UInt8(ascii: "'"), let end = contraction(at, end, anyCase: true) { return end }
        let here = peek(at)
        let next = at + here.length
        if here.classes & letters != 0 { return skip(while: letters, next, end) }
        if here.classes & (number | newline) == 0, next < end, peek(next).classes & letters != 0 {
            return skip(while: letters, next, end)
        }
        if here.classes & number != 0 {
            var stop = next
            var count = 1
            while count < digits, stop < end {
                let digit = peek(stop)
                if digit.classes & number == 0 { break }
                stop += digit.length
                count += 1
            }
            return stop
        }
        let start = first == UInt8(ascii: " ") ? next : at
        let worded = space | letters | number
        if start < end, peek(start).classes & worded == 0 {
            return skip(while: newline, skip(until: worded, start, end), end)
        }
        return whitespace(at, end, newlines: true)
    }

    private func gpt2(_ at: Int, _ end: Int) -> Int {
        let first = text[at]
        if first == UInt8(ascii: "'"), let end = contraction(at, end, anyCase: false) { return end }
        let start = first == UInt8(ascii: " ") ? at + 1 : at
        if start < end {
            let classes = peek(start).classes
            if classes & letter != 0 { return skip(while: letter, start, end) }
            if classes & number != 0 { return skip(while: number, start, end) }
            if classes & space == 0 { return skip(until: space | letter | number, start, end) }
        }
        return whitespace(at, end, newlines: false)
    }

    /// `\s*[\r\n]+` where `newlines` is set, then `\s+(?!\S)|\s+`.
    private func whitespace(_ start: Int, _ end: Int, newlines: Bool) -> Int {
        var at = start
        var last = start
        var afterNewline = start
        while at < end {
            let next = peek(at)
            if next.classes & space == 0 { break }
            last = at
            at += next.length
            if next.classes & newline != 0 { afterNewline = at }
        }
        if newlines, afterNewline > start { return afterNewline }
        // The last white space before a word is left to it, unless it is the only one.
        return at == end || last == start ? at : last
    }
}
