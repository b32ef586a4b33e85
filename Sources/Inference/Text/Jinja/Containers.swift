/// What is known of a container without walking through it.
///
/// A template can put one list into another as often as it likes, even one list many times: walking
/// through such a tree may take for ever, and as deep a stack as the tree is deep.
struct Shape {
    /// More than this many containers in each other end the rendering.
    static let deepest = 200
    private static let heaviest = 1 << 40

    /// Containers in each other, this one included.
    private(set) var depth = 1
    /// About how many characters it prints; no more is counted than `heaviest`.
    private(set) var weight = 2
    /// Whether any text in it is the client's.
    private(set) var isTainted = false

    mutating func add(_ value: Value) {
        depth = max(depth, value.depth + 1)
        weight = min(weight + value.weight, Self.heaviest)
        isTainted = isTainted || value.isTainted
    }

    mutating func add(_ other: Shape) {
        depth = max(depth, other.depth)
        weight = min(weight + other.weight, Self.heaviest)
        isTainted = isTainted || other.isTainted
    }
}

extension Value {
    /// The items of a list or tuple.
    struct Items: RandomAccessCollection, ExpressibleByArrayLiteral {
        private(set) var values: [Value]
        private(set) var shape = Shape()

        init(_ values: [Value]) {
            self.values = values
            for value in values { shape.add(value) }
        }

        init(arrayLiteral elements: Value...) { self.init(elements) }

        var startIndex: Int { 0 }
        var endIndex: Int { values.count }
        subscript(place: Int) -> Value { values[place] }

        mutating func append(_ other: Items) {
            values += other.values
            shape.add(other.shape)
        }
    }

    /// A dictionary: keys in their order.
    struct Dict {
        private(set) var keys: [Value] = []
        private(set) var values: [Value] = []
        private(set) var shape = Shape()
        private var index: [Key: Int] = [:]

        /// What makes two keys the same; 1, 1.0 and True are.
        enum Key: Hashable {
            case text(TaintedText)
            case number(Double)
            case nothing
            case tuple([Key])
        }

        var count: Int { keys.count }

        subscript(key: Value) -> Value? {
            guard let name = key.key, let place = index[name] else { return nil }
            return values[place]
        }

        subscript(name: String) -> Value? { self[.string(TaintedText(name))] }

        /// False where the key cannot be one (a list).
        @discardableResult
        mutating func set(_ key: Value, _ value: Value) -> Bool {
            guard let name = key.key else { return false }
            shape.add(value)
            if let place = index[name] {
                values[place] = value
            } else {
                shape.add(key)
                index[name] = keys.count
                keys.append(key)
                values.append(value)
            }
            return true
        }

        var items: [Value] { zip(keys, values).map { .tuple([$0, $1]) } }
    }

    /// Containers in each other; what lies behind a reference does not count, see `Kept`.
    var depth: Int {
        switch self {
        case .list(let items), .tuple(let items): items.shape.depth
        case .dict(let dict): dict.shape.depth
        case .method(let owner, _): owner.depth + 1
        default: 0
        }
    }

    /// About how many characters it prints.
    var weight: Int {
        switch self {
        case .string(let text): text.count + 4
        case .list(let items), .tuple(let items): items.shape.weight
        case .dict(let dict): dict.shape.weight
        case .int, .float: 3
        default: 6
        }
    }

    /// Whether any text in it is the client's.
    var isTainted: Bool {
        switch self {
        case .string(let text): text.isTainted
        case .list(let items), .tuple(let items): items.shape.isTainted
        case .dict(let dict): dict.shape.isTainted
        default: false
        }
    }
}
