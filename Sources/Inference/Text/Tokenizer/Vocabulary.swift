/// The model's tokens: id to text and text to id.
///
/// Texts are compared byte for byte (Swift strings would take canonically equivalent ones for
/// equal), and lie in one arena.
struct Vocabulary: Sendable {
    private var arena: [UInt8] = []
    /// Start and length of each id's text; a length of -1 is a hole.
    private var places: [(start: Int32, length: Int32)] = []
    private var slots: [Int32]
    private(set) var count = 0

    /// Ids above this are refused: it bounds the memory that a file can ask for.
    static let largestID = 1 << 24

    /// A vocabulary with room for `capacity` tokens.
    init(capacity: Int) {
        var size = 16
        while size < capacity &* 2 { size &*= 2 }
        slots = Array(repeating: -1, count: size)
        places.reserveCapacity(capacity)
    }

    /// The largest id plus one.
    var upperBound: Int { places.count }

    /// The text of `id`; nil for a hole.
    func text(of id: Int32) -> ArraySlice<UInt8>? {
        guard id >= 0, Int(id) < places.count, places[Int(id)].length >= 0 else { return nil }
        let place = places[Int(id)]
        return arena[Int(place.start)..<Int(place.start + place.length)]
    }

    private static func hash(_ text: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return hash ^ hash >> 32
    }

    /// The slot of `text`: where it is, or the free one where it would be.
    private func slot(of text: UnsafeBufferPointer<UInt8>) -> Int {
        let mask = slots.count - 1
        var at = Int(truncatingIfNeeded: Self.hash(text)) & mask
        return arena.withUnsafeBufferPointer { arena in
            while slots[at] >= 0 {
                let place = places[Int(slots[at])]
                if Int(place.length) == text.count {
                    let known = UnsafeBufferPointer(
                        rebasing: arena[Int(place.start)..<Int(place.start + place.length)]
                    )
                    if known.elementsEqual(text) { return at }
                }
                at = (at + 1) & mask
            }
            return at
        }
    }

    /// The id of `text`.
    func id(of text: UnsafeBufferPointer<UInt8>) -> Int32? {
        let id = slots[slot(of: text)]
        return id < 0 ? nil : id
    }

    /// The id of `text`.
    func id(of text: [UInt8]) -> Int32? { text.withUnsafeBufferPointer { id(of: $0) } }

    /// Adds a token; false where the id is out of bounds.
    ///
    /// A text that is there already moves to the new id for look-ups, and both ids keep their text,
    /// as in GGUF files with repeated tokens.
    mutating func add(_ text: [UInt8], id: Int) -> Bool {
        guard id >= 0, id <= Self.largestID, arena.count + text.count < Int(Int32.max) else {
            return false
        }
        if (count + 1) * 2 > slots.count { grow() }
        while places.count <= id { places.append((0, -1)) }
        let at = text.withUnsafeBufferPointer { slot(of: $0) }
        if places[id].length < 0 { count += 1 }
        places[id] = (Int32(arena.count), Int32(text.count))
        arena.append(contentsOf: text)
        slots[at] = Int32(id)
        return true
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: -1, count: old.count * 2)
        for id in old where id >= 0 {
            guard let text = text(of: id) else { continue }
            let at = text.withUnsafeBufferPointer { slot(of: $0) }
            slots[at] = id
        }
    }
}
