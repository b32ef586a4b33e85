/// What the pre-tokenizers ask of a scalar, as bits in one table.
struct UnicodeClasses: OptionSet, Sendable {
    let rawValue: UInt8

    /// General category L.
    static let letter = UnicodeClasses(rawValue: 1)
    /// General category N.
    static let number = UnicodeClasses(rawValue: 2)
    /// The property White_Space.
    static let space = UnicodeClasses(rawValue: 4)
    /// Carriage return and line feed.
    static let newline = UnicodeClasses(rawValue: 8)
    /// General category M.
    static let mark = UnicodeClasses(rawValue: 16)
    /// `\w` of UTS 18: alphabetic, marks, decimal digits, connectors, joiners.
    static let word = UnicodeClasses(rawValue: 32)
    /// General category P, and the ASCII symbols that C calls punctuation.
    static let punctuation = UnicodeClasses(rawValue: 64)
    /// General category N of the newest Unicode: what Digits splits.
    static let numeric = UnicodeClasses(rawValue: 128)

    /// HF's pattern engines know Unicode 16, its punctuation is of Unicode 8, and its digits are
    /// those of the newest version.
    ///
    /// Scalars that are younger have none of the classes.
    private static let patternAge = 16
    private static let punctuationAge = 8

    /// Planes 0 to 3 hold every letter, number and space; the table stops there.
    static let tableSize = 0x40000

    /// One byte for each scalar below `tableSize`; lives as long as the process.
    nonisolated(unsafe) static let table: UnsafePointer<UInt8> = {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: tableSize)
        table.initialize(repeating: 0, count: tableSize)
        for value in 0..<UInt32(tableSize) {
            if let scalar = Unicode.Scalar(value) { table[Int(value)] = classify(scalar).rawValue }
        }
        return UnsafePointer(table)
    }()

    /// The classes of `value`.
    @inline(__always) static func of(_ value: UInt32, in table: UnsafePointer<UInt8>) -> UInt8 {
        if value < UInt32(tableSize) { return table[Int(value)] }
        // Variation selectors are the only marks above.
        return (0xE0100...0xE01EF).contains(value) ? mark.rawValue | word.rawValue : 0
    }

    /// The classes of `scalar`.
    static func of(_ scalar: Unicode.Scalar) -> UnicodeClasses {
        UnicodeClasses(rawValue: of(scalar.value, in: table))
    }

    private static func classify(_ scalar: Unicode.Scalar) -> UnicodeClasses {
        let properties = scalar.properties
        let age = properties.age?.major ?? 0
        var classes: UnicodeClasses = []
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            classes = .letter
        case .decimalNumber: classes = [.number, .numeric, .word]
        case .letterNumber, .otherNumber: classes = [.number, .numeric]
        case .nonspacingMark, .spacingMark, .enclosingMark: classes = [.mark, .word]
        case .connectorPunctuation: classes = [.punctuation, .word]
        case .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            classes = .punctuation
        case .currencySymbol, .mathSymbol, .modifierSymbol, .otherSymbol:
            if scalar.isASCII { classes = .punctuation }
        default: break
        }
        if properties.isAlphabetic || properties.isJoinControl { classes.insert(.word) }
        if age > patternAge { classes.formIntersection(.numeric) }
        if age > punctuationAge { classes.remove(.punctuation) }
        // These two were punctuation then.
        if scalar == "\u{166D}" || scalar == "\u{111C9}" { classes.insert(.punctuation) }
        if properties.isWhitespace { classes.insert(.space) }
        if scalar == "\r" || scalar == "\n" { classes.insert(.newline) }
        return classes
    }
}
