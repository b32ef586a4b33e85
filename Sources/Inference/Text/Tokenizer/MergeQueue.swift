/// The merges that a long word waits for, by rank and then by place.
///
/// Places of one rank are kept in a list, which is sorted when its turn comes: long words then read
/// and write memory in order, where one big heap would jump about, and a run of one character takes
/// linear time.
struct MergeQueue {
    private static let none: Int32 = -1
    /// The rank is on the stack.
    private static let started: Int32 = -2

    /// The first and last node of each rank's list.
    private var heads: [Int32]
    private var tails: [Int32]
    private var nodes: [(place: Int32, next: Int32)] = []
    /// Ranks that have a list and are not started.
    private var waiting = MinHeap()
    /// Started ranks, the lowest on top, with the begin of their places and the next of them; a -1
    /// ends the places of each.
    private var stack: [(rank: UInt32, begin: Int, next: Int)] = []
    private var places: [Int32] = []
    /// Places that came when their rank was started already.
    private var late = MinHeap()

    /// A queue for ranks below `ranks`.
    init(ranks: Int) {
        heads = Array(repeating: Self.none, count: ranks)
        tails = heads
    }

    /// How many nodes the memory has room for.
    var capacity: Int { nodes.capacity }

    /// Makes an empty queue ready for about `count` places.
    mutating func prepare(_ count: Int) {
        nodes.removeAll(keepingCapacity: true)
        nodes.reserveCapacity(count)
    }

    /// Adds a place.
    @inline(__always) mutating func push(rank: UInt32, place: Int32) {
        let slot = Int(rank)
        let head = heads[slot]
        if head == Self.started {
            late.push(UInt64(rank) << 32 | UInt64(UInt32(bitPattern: place)))
            return
        }
        let node = Int32(truncatingIfNeeded: nodes.count)
        nodes.append((place, Self.none))
        if head == Self.none {
            heads[slot] = node
            waiting.push(UInt64(rank))
        } else {
            nodes[Int(tails[slot])].next = node
        }
        tails[slot] = node
    }

    /// Takes the lowest rank and its leftmost place.
    @inline(__always) mutating func pop() -> (rank: UInt32, place: Int32)? {
        while true {
            var first = UInt64.max
            if let top = stack.last {
                first = UInt64(top.rank) << 32 | UInt64(UInt32(bitPattern: places[top.next]))
            }
            let latest = late.first ?? .max
            if let rank = waiting.first,
                rank < min(first, latest) >> 32 || min(first, latest) == .max
            {
                _ = waiting.pop()
                start(UInt32(truncatingIfNeeded: rank))
                continue
            }
            if latest < first {
                _ = late.pop()
                return (UInt32(latest >> 32), Int32(truncatingIfNeeded: latest))
            }
            guard first != .max else { return nil }
            advance()
            return (UInt32(first >> 32), Int32(truncatingIfNeeded: first))
        }
    }

    /// Moves a rank's list to the top of the stack, sorted.
    private mutating func start(_ rank: UInt32) {
        let begin = places.count
        var node = heads[Int(rank)]
        var isSorted = true
        while node >= 0 {
            let (place, next) = nodes[Int(node)]
            if places.count > begin, places[places.count - 1] > place { isSorted = false }
            places.append(place)
            node = next
        }
        if !isSorted { places[begin...].sort() }
        heads[Int(rank)] = Self.started
        places.append(Self.none)
        stack.append((rank, begin, begin))
    }

    @inline(__always) private mutating func advance() {
        let top = stack.count - 1
        stack[top].next += 1
        guard places[stack[top].next] == Self.none else { return }
        heads[Int(stack[top].rank)] = Self.none
        places.removeLast(places.count - stack[top].begin)
        stack.removeLast()
    }
}
