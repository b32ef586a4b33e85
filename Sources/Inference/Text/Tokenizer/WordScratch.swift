/// The memory of one encoding call: symbols, a queue, and a cache of short words.
///
/// One thread has it at a time (the tokenizer keeps idle ones in a pool), which is why it may be
/// passed on unchecked.
final class WordScratch: @unchecked Sendable {
    /// A word of at most 24 bytes and its at most 8 tokens: one cache line.
    struct CachedWord {
        var key: (UInt64, UInt64, UInt64) = (0, 0, 0)
        var ids: (Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32) = (0, 0, 0, 0, 0, 0, 0, 0)
        var length: UInt32 = 0
        var count: UInt32 = 0
    }

    static let longestCached = 24
    static let mostCached = 8
    private static let cacheBits = 15

    /// Direct mapped: a new word replaces the one in its place, so it cannot grow.
    let cache: UnsafeMutablePointer<CachedWord>

    /// The symbols of the word at work.
    private(set) var symbols: UnsafeMutablePointer<Int32>
    /// Rank and result of merging each symbol with the next; `UInt64.max` where there is no merge.
    private(set) var ranks: UnsafeMutablePointer<UInt64>
    private(set) var capacity = 256
    /// How many symbols there are.
    var count = 0

    /// A symbol of a long word: its neighbours, and rank and result of merging it with the next.
    struct Link {
        var merge: UInt64
        var id: Int32
        var previous: Int32
        var next: Int32
    }

    /// The symbols and the queue of long words.
    var links: [Link] = []
    var queue: MergeQueue?

    init() {
        let size = 1 << Self.cacheBits
        cache = .allocate(capacity: size)
        cache.initialize(repeating: CachedWord(), count: size)
        symbols = .allocate(capacity: capacity)
        ranks = .allocate(capacity: capacity)
    }

    deinit {
        cache.deallocate()
        symbols.deallocate()
        ranks.deallocate()
    }

    /// Whether this holds the memory of a very long word.
    var isLarge: Bool { capacity > 1 << 16 }

    /// The queue, empty, so that its owner changes it without a copy.
    func takeQueue(ranks: Int) -> MergeQueue {
        defer { queue = nil }
        return queue ?? MergeQueue(ranks: ranks)
    }

    /// Adds a symbol.
    @inline(__always) func append(_ symbol: Int32) {
        if count == capacity { reserve(count + 1) }
        symbols[count] = symbol
        count += 1
    }

    /// Makes room for `wanted` symbols.
    func reserve(_ wanted: Int) {
        guard wanted > capacity else { return }
        let larger = max(capacity * 2, wanted)
        let newSymbols = UnsafeMutablePointer<Int32>.allocate(capacity: larger)
        newSymbols.update(from: symbols, count: count)
        symbols.deallocate()
        ranks.deallocate()
        symbols = newSymbols
        ranks = .allocate(capacity: larger)
        capacity = larger
    }

    /// The word's bytes as three numbers, and its place in the cache.
    @inline(__always)
    static func key(_ word: UnsafePointer<UInt8>, _ length: Int)
        -> (key: (UInt64, UInt64, UInt64), place: Int)
    {
        @inline(__always) func load(_ offset: Int) -> UInt64 {
            let left = length - offset
            if left <= 0 { return 0 }
            if left >= 8 {
                return UnsafeRawPointer(word + offset).loadUnaligned(as: UInt64.self)
            }
            var value: UInt64 = 0
            for place in 0..<left { value |= UInt64(word[offset + place]) << UInt64(8 * place) }
            return value
        }
        let key = (load(0), load(8), load(16))
        var hash = (key.0 ^ UInt64(length) << 56) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 32 ^ key.1) &* 0xD6E8_FEB8_6659_FD93
        hash = (hash ^ hash >> 32 ^ key.2) &* 0x9E37_79B9_7F4A_7C15
        return (key, Int(truncatingIfNeeded: hash >> UInt64(64 - cacheBits)))
    }
}
