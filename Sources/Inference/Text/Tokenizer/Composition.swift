import Foundation

/// The four normalisation forms of Unicode (UAX 15) in linear time.
///
/// Foundation's own take quadratic time on long runs of combining marks, which a client can send. Its
/// forms of single scalars are right, and the tables are made from them once, when first needed.
struct Composition: Sendable {
    /// Decompositions that keep the meaning.
    static let canonical = Composition(compatibility: false)
    /// Decompositions that also drop forms: ligatures, widths, superscripts.
    static let compatibility = Composition(compatibility: true)

    /// All scalars that decompose lie in these ranges; Hangul syllables do it by arithmetic.
    private static let canonicalRanges: [Range<UInt32>] = [
        0xC0..<0x3400, 0xF900..<0xFB50, 0x10500..<0x12000, 0x16000..<0x17000, 0x1D100..<0x1D200,
        0x2F800..<0x2FA20,
    ]
    private static let compatibilityRanges: [Range<UInt32>] = [
        0xA0..<0x3400, 0xA600..<0xABFF, 0xF900..<0x10000, 0x10500..<0x12000, 0x16000..<0x17000,
        0x1CC00..<0x1CF00, 0x1D100..<0x1D800, 0x1E000..<0x1E100, 0x1EE00..<0x1F300,
        0x1FBF0..<0x1FC00, 0x2F800..<0x2FA20,
    ]

    /// HF's tables are of Unicode 9; what is younger stays as it is.
    private static let age = 9

    private static let syllables: Range<UInt32> = 0xAC00..<0xD7A4
    private static let leads: Range<UInt32> = 0x1100..<0x1113
    private static let vowels: Range<UInt32> = 0x1161..<0x1176
    private static let tails: Range<UInt32> = 0x11A8..<0x11C3

    /// Full decompositions: start and length in `parts` of each scalar that has one.
    private var places = PairTable(capacity: 4096)
    private var parts: [Unicode.Scalar] = []
    /// The composite of each pair that has one.
    private var composites = PairTable(capacity: 2048)

    private init(compatibility: Bool) {
        var canonical: [[Unicode.Scalar]: Unicode.Scalar] = [:]
        for value in (compatibility ? Self.compatibilityRanges : Self.canonicalRanges).joined() {
            guard let scalar = Unicode.Scalar(value), Self.isKnown(scalar) else { continue }
            let text = String(scalar)
            let plain = Array(text.decomposedStringWithCanonicalMapping.unicodeScalars)
            let full =
                compatibility
                ? Array(text.decomposedStringWithCompatibilityMapping.unicodeScalars) : plain
            if full != [scalar] {
                places.set(UInt64(value), UInt64(parts.count) << 8 | UInt64(full.count & 0xFF))
                parts += full
            }
            if plain.count > 1, !scalar.properties.isFullCompositionExclusion {
                canonical[plain] = scalar
            }
        }
        // A composite is the last scalar of its full decomposition on the composite of the rest.
        for (full, scalar) in canonical {
            guard let last = full.last else { continue }
            let rest = Array(full.dropLast())
            guard let first = rest.count == 1 ? rest.first : canonical[rest] else { continue }
            composites.set(Self.key(first, last), UInt64(scalar.value))
        }
    }

    private static func key(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> UInt64 {
        UInt64(first.value) << 32 | UInt64(second.value)
    }

    /// The text in the form, in UTF-8.
    func normalized(_ text: UnsafeBufferPointer<UInt8>, composes: Bool) -> [UInt8] {
        var scalars = decomposed(text)
        if composes { compose(&scalars) }
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        for (scalar, _) in scalars { out.append(contentsOf: UTF8.encode(scalar) ?? .init()) }
        return out
    }

    private typealias Marked = (scalar: Unicode.Scalar, mark: UInt8)

    private func decomposed(_ text: UnsafeBufferPointer<UInt8>) -> [Marked] {
        var out: [Marked] = []
        out.reserveCapacity(text.count / 2)
        // Where the marks since the last starter begin, and whether they are out of order.
        var run = 0
        var isSorted = true
        func add(_ scalar: Unicode.Scalar) {
            let mark = Self.mark(scalar)
            if mark == 0 {
                if !isSorted { Self.sort(&out, from: run) }
                isSorted = true
                run = out.count + 1
            } else if let last = out.last, last.mark > mark {
                isSorted = false
            }
            out.append((scalar, mark))
        }
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            if scalar.value < 0xA0 {
                add(scalar)
            } else if Self.syllables.contains(scalar.value) {
                Self.jamo(of: scalar).forEach(add)
            } else if let place = places[UInt64(scalar.value)] {
                let start = Int(place >> 8)
                for part in parts[start..<(start + Int(place & 0xFF))] { add(part) }
            } else {
                add(scalar)
            }
        }
        if !isSorted { Self.sort(&out, from: run) }
        return out
    }

    /// Whether accents are stripped of this scalar: general category M.
    static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        UnicodeClasses.of(scalar).contains(.mark) && isKnown(scalar)
    }

    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        (scalar.properties.age?.major ?? 0) <= age
    }

    /// The combining class; 0 for what starts a character.
    private static func mark(_ scalar: Unicode.Scalar) -> UInt8 {
        if scalar.value < 0x300 { return 0 }
        let mark = scalar.properties.canonicalCombiningClass.rawValue
        return mark == 0 || isKnown(scalar) ? mark : 0
    }

    /// Sorts the marks at the end by their class; equal ones keep their order.
    private static func sort(_ scalars: inout [Marked], from start: Int) {
        let sorted = scalars[start...].enumerated().sorted {
            ($0.element.mark, $0.offset) < ($1.element.mark, $1.offset)
        }
        for (place, item) in sorted.enumerated() { scalars[start + place] = item.element }
    }

    private static func jamo(of syllable: Unicode.Scalar) -> [Unicode.Scalar] {
        let index = syllable.value - syllables.lowerBound
        let tail = index % 28
        let values = [
            leads.lowerBound + index / 588, vowels.lowerBound + index % 588 / 28,
            tail == 0 ? nil : tails.lowerBound + tail - 1,
        ]
        return values.compactMap { $0.flatMap { Unicode.Scalar($0) } }
    }

    private func composite(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Unicode.Scalar? {
        if Self.leads.contains(first.value), Self.vowels.contains(second.value) {
            let pair = (first.value - Self.leads.lowerBound) * 21 + second.value
            return Unicode.Scalar(
                Self.syllables.lowerBound + (pair - Self.vowels.lowerBound) * 28
            )
        }
        if Self.syllables.contains(first.value), Self.tails.contains(second.value),
            (first.value - Self.syllables.lowerBound) % 28 == 0
        {
            return Unicode.Scalar(first.value + second.value - Self.tails.lowerBound + 1)
        }
        return composites[Self.key(first, second)].flatMap { Unicode.Scalar(UInt32($0)) }
    }

    private func compose(_ scalars: inout [Marked]) {
        var kept = 0
        var starter: Int?
        for item in scalars {
            // A mark reaches the starter past smaller classes only; a starter reaches a neighbour.
            if let place = starter {
                let isNext = place == kept - 1
                if isNext || (item.mark != 0 && scalars[kept - 1].mark < item.mark),
                    let joined = composite(scalars[place].scalar, item.scalar)
                {
                    scalars[place].scalar = joined
                    continue
                }
            }
            scalars[kept] = item
            if item.mark == 0 { starter = kept }
            kept += 1
        }
        scalars.removeLast(scalars.count - kept)
    }
}
