/// Waiting generations of one model: keys share the engine by their weights, each key's own are first
/// in, first out.
///
/// Self-clocked fair queueing: a key's next generation has a mark that lies one stride after the mark
/// of the one that started last; the stride is the shorter the greater the key's weight, and the least
/// mark starts. Keys of one weight thus take turns.
/// Generations of an engine that died come before all others, oldest first.
struct WaitingQueue: Sendable {
    private struct Lane {
        var ids: [GenerationID]
        var stride: UInt64
        /// Of the first; each further one is a stride later.
        var mark: UInt64
        /// Tells equal marks apart: who came to its mark first.
        var order: UInt64

        func mark(at place: Int) -> UInt64 { mark &+ UInt64(place) &* stride }
    }

    /// The weights that a key may have.
    static let weights = 1...1000
    private static let unit: UInt64 = 720_720_000

    private var urgent: [GenerationID] = []
    private var lanes: [String: Lane] = [:]
    /// The mark of the generation that started last.
    private var clock: UInt64 = 0
    private var orders: UInt64 = 0

    var count: Int { urgent.count + lanes.values.reduce(0) { $0 + $1.ids.count } }
    var isEmpty: Bool { urgent.isEmpty && lanes.isEmpty }

    private var turn: (key: String, lane: Lane)? {
        lanes.min { ($0.value.mark, $0.value.order) < ($1.value.mark, $1.value.order) }
            .map { ($0.key, $0.value) }
    }

    /// Whose turn it is.
    var next: GenerationID? { urgent.first ?? turn?.lane.ids.first }

    /// The first of those whose engine died.
    var urgentHead: GenerationID? { urgent.first }

    /// The oldest; ids grow with time.
    var oldest: GenerationID? {
        (urgent + lanes.values.compactMap(\.ids.first)).min()
    }

    mutating func append(_ id: GenerationID, key: String, weight: Int = 1) {
        let weight = min(max(weight, Self.weights.lowerBound), Self.weights.upperBound)
        let stride = Self.unit / UInt64(weight)
        if lanes[key] == nil {
            orders += 1
            lanes[key] = Lane(ids: [], stride: stride, mark: clock &+ stride, order: orders)
        }
        lanes[key]?.ids.append(id)
        lanes[key]?.stride = stride
    }

    /// Puts generations back before all others.
    mutating func prepend(_ ids: [GenerationID]) {
        urgent = (urgent + ids).sorted()
    }

    /// Takes the next one out and passes the turn on.
    mutating func removeNext() {
        if !urgent.isEmpty {
            urgent.removeFirst()
            return
        }
        guard let (key, first) = turn else { return }
        var lane = first
        clock = lane.mark
        lane.ids.removeFirst()
        lane.mark = lane.mark(at: 1)
        orders += 1
        lane.order = orders
        lanes[key] = lane.ids.isEmpty ? nil : lane
    }

    mutating func remove(_ id: GenerationID, key: String) {
        urgent.removeAll { $0 == id }
        guard lanes[key] != nil else { return }
        lanes[key]?.ids.removeAll { $0 == id }
        if lanes[key]?.ids.isEmpty ?? true { lanes[key] = nil }
    }

    /// How many come before the newest of `key`, itself included.
    func position(ofNewestOf key: String) -> Int {
        guard let own = lanes[key] else { return urgent.count }
        let last = own.mark(at: own.ids.count - 1)
        let others = lanes.reduce(0) { sum, other in
            guard other.key != key, other.value.mark <= last else { return sum }
            let passing = (last - other.value.mark) / other.value.stride + 1
            return sum + min(other.value.ids.count, Int(min(passing, 1 << 40)))
        }
        return urgent.count + own.ids.count + others
    }

    /// All in the order in which they would start.
    var order: [GenerationID] {
        var marked: [(mark: UInt64, place: Int, order: UInt64, id: GenerationID)] = []
        marked.reserveCapacity(count)
        for lane in lanes.values {
            for (place, id) in lane.ids.enumerated() {
                marked.append((lane.mark(at: place), place, lane.order, id))
            }
        }
        marked.sort { ($0.mark, $0.order, $0.place) < ($1.mark, $1.order, $1.place) }
        return urgent + marked.map(\.id)
    }
}
