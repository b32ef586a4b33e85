/// Waiting generations of one model: keys take turns, each key's own are first in, first out.
///
/// Generations of an engine that died come before all others, oldest first.
struct WaitingQueue: Sendable {
    private var urgent: [GenerationID] = []
    private var lanes: [String: [GenerationID]] = [:]
    /// Keys with waiting generations; the first has its turn.
    private var turns: [String] = []

    var count: Int { urgent.count + lanes.values.reduce(0) { $0 + $1.count } }
    var isEmpty: Bool { urgent.isEmpty && turns.isEmpty }

    /// Whose turn it is.
    var next: GenerationID? { urgent.first ?? turns.first.flatMap { lanes[$0]?.first } }

    /// The first of those whose engine died.
    var urgentHead: GenerationID? { urgent.first }

    /// The oldest; ids grow with time.
    var oldest: GenerationID? {
        let heads = turns.compactMap { lanes[$0]?.first }
        return (urgent + heads).min()
    }

    mutating func append(_ id: GenerationID, key: String) {
        if lanes[key] == nil { turns.append(key) }
        lanes[key, default: []].append(id)
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
        guard let key = turns.first else { return }
        turns.removeFirst()
        lanes[key]?.removeFirst()
        if lanes[key]?.isEmpty ?? true { lanes[key] = nil } else { turns.append(key) }
    }

    mutating func remove(_ id: GenerationID, key: String) {
        urgent.removeAll { $0 == id }
        guard lanes[key] != nil else { return }
        lanes[key]?.removeAll { $0 == id }
        guard lanes[key]?.isEmpty ?? true else { return }
        lanes[key] = nil
        turns.removeAll { $0 == key }
    }

    /// How many come before the newest of `key`, itself included.
    func position(ofNewestOf key: String) -> Int {
        let own = lanes[key]?.count ?? 0
        let others = turns.reduce(0) { $1 == key ? $0 : $0 + min(own, lanes[$1]?.count ?? 0) }
        return urgent.count + own + others
    }

    /// All in the order in which they would start.
    var order: [GenerationID] {
        var rest = turns.map { lanes[$0] ?? [] }[...]
        var places = [Int](repeating: 0, count: rest.count)
        var output = urgent
        while !rest.isEmpty {
            var isDone = true
            for lane in rest.indices where places[lane] < rest[lane].count {
                output.append(rest[lane][places[lane]])
                places[lane] += 1
                isDone = false
            }
            if isDone { rest = [] }
        }
        return output
    }
}
