/// A read-only hash table from 64-bit keys to 64-bit values: open addressing, linear probing, at
/// most half full.
///
/// It is the inner loop of merging, so entries lie side by side.
struct PairTable: Sendable {
    /// No entry of ours has this key: ids and node numbers are below 2³¹.
    private static let free = UInt64.max

    private var slots: [(key: UInt64, value: UInt64)]
    private var mask: Int
    private var shift: UInt64
    private(set) var count = 0

    /// A table with room for `capacity` entries; it grows where needed.
    init(capacity: Int) {
        var size = 16
        while size < capacity &* 2 { size &*= 2 }
        slots = Array(repeating: (Self.free, 0), count: size)
        mask = size - 1
        shift = UInt64(64 - size.trailingZeroBitCount)
    }

    /// The key of an ordered pair of non-negative numbers.
    @inline(__always) static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always) private func start(_ key: UInt64) -> Int {
        let mixed = (key ^ key >> 29) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> shift)
    }

    /// The value of `key`.
    @inline(__always) subscript(key: UInt64) -> UInt64? {
        slots.withUnsafeBufferPointer { slots in
            var at = start(key)
            while true {
                let slot = slots[at]
                if slot.key == key { return slot.value }
                if slot.key == Self.free { return nil }
                at = (at &+ 1) & mask
            }
        }
    }

    /// Sets the value of `key`; a later value replaces an earlier one.
    mutating func set(_ key: UInt64, _ value: UInt64) {
        if (count + 1) * 2 > slots.count { grow() }
        var at = start(key)
        while slots[at].key != Self.free, slots[at].key != key { at = (at + 1) & mask }
        if slots[at].key == Self.free { count += 1 }
        slots[at] = (key, value)
    }

    /// The entries, in no particular order.
    var entries: some Sequence<(key: UInt64, value: UInt64)> {
        slots.lazy.filter { $0.key != Self.free }
    }

    private mutating func grow() {
        var larger = PairTable(capacity: slots.count)
        for slot in slots where slot.key != Self.free { larger.set(slot.key, slot.value) }
        self = larger
    }
}
