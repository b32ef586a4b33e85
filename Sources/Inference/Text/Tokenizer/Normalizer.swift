/// The text changes before pre-tokenizing, in order (`normalizer` of `tokenizer.json`).
struct Normalizer: Sendable {
    /// One change.
    enum Step: Sendable {
        case nfc
        case nfd
        case nfkc
        case nfkd
        case lowercase
        /// Before any text that is not empty.
        case prepend([UInt8])
        case replace(TextPattern, with: [UInt8])
        case strip(left: Bool, right: Bool)
        case stripAccents
        /// Each byte becomes its character of `ByteAlphabet`.
        case byteLevel
    }

    var steps: [Step] = []

    /// The changed text, or nil where nothing changes.
    ///
    /// A continuation belongs to text whose beginning is normalised elsewhere: nothing is
    /// prepended.
    func apply(_ text: UnsafeBufferPointer<UInt8>, isContinuation: Bool = false) -> [UInt8]? {
        var current: [UInt8]?
        for step in steps {
            if let changed = current {
                current =
                    changed.withUnsafeBufferPointer { apply(step, $0, isContinuation) }
                    ?? changed
            } else {
                current = apply(step, text, isContinuation)
            }
        }
        return current
    }

    private func apply(
        _ step: Step,
        _ text: UnsafeBufferPointer<UInt8>,
        _ isContinuation: Bool
    ) -> [UInt8]? {
        switch step {
        case .nfc:
            if Self.isPlainlyComposed(text) { return nil }
            return Composition.canonical.normalized(text, composes: true)
        case .nfd:
            if Self.isASCII(text) { return nil }
            return Composition.canonical.normalized(text, composes: false)
        case .nfkc:
            if Self.isASCII(text) { return nil }
            return Composition.compatibility.normalized(text, composes: true)
        case .nfkd:
            if Self.isASCII(text) { return nil }
            return Composition.compatibility.normalized(text, composes: false)
        case .lowercase:
            return scalars(text) { scalar, out in
                out += scalar.properties.lowercaseMapping.utf8
            }
        case .stripAccents:
            return scalars(text) { scalar, out in
                guard !Composition.isMark(scalar) else { return }
                out += String(scalar).utf8
            }
        case .prepend(let prefix):
            return text.isEmpty || isContinuation ? nil : prefix + text
        case .replace(let pattern, let replacement):
            return Self.replace(pattern, with: replacement, in: text)
        case .strip(let left, let right): return strip(text, left: left, right: right)
        case .byteLevel: return ByteAlphabet.encode(text)
        }
    }

    static func replace(
        _ pattern: TextPattern,
        with replacement: [UInt8],
        in text: UnsafeBufferPointer<UInt8>
    ) -> [UInt8]? {
        let matches = pattern.matches(in: text, range: 0..<text.count)
        guard !matches.isEmpty else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(text.count + matches.count * replacement.count)
        var at = 0
        for match in matches {
            out += text[at..<match.lowerBound]
            out += replacement
            at = match.upperBound
        }
        out += text[at...]
        return out
    }

    private func scalars(
        _ text: UnsafeBufferPointer<UInt8>,
        _ body: (Unicode.Scalar, inout [UInt8]) -> Void
    ) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars { body(scalar, &out) }
        return out
    }

    private func strip(_ text: UnsafeBufferPointer<UInt8>, left: Bool, right: Bool) -> [UInt8]? {
        let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
        var rest = scalars[...]
        if left { rest = rest.drop { $0.properties.isWhitespace } }
        if right {
            while let last = rest.last, last.properties.isWhitespace { rest.removeLast() }
        }
        return rest.count == scalars.count ? nil : Array(String(rest).utf8)
    }

    static func isASCII(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        text.allSatisfy { $0 < 0x80 }
    }

    /// Whether the text is in NFC for certain: it has only scalars of blocks where each scalar is
    /// composed, starts a character, and joins with nothing before it.
    static func isPlainlyComposed(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let base = text.baseAddress else { return true }
        let scanner = WordScanner(text: base)
        var at = 0
        while at < text.count {
            if text[at] < 0xCC {
                // Scalars below U+0300, whose bytes are all below 0xCC.
                at += 1
                continue
            }
            let scalar = scanner.scalar(at)
            switch scalar.value {
            case 0x0400...0x0482, 0x048A...0x052F, 0x05D0...0x05EA, 0x0621...0x064A,
                0x0E01...0x0E37,
                0x2010...0x2027, 0x3001...0x3029, 0x3041...0x3096, 0x30A1...0x30FA,
                0x3400...0x4DBF, 0x4E00...0x9FFF, 0xAC00...0xD7A3, 0xFF01...0xFF9D,
                0x1F300...0x1FAFF:
                at += scalar.length
            default: return false
            }
        }
        return true
    }
}
