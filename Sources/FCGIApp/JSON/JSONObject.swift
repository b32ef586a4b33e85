/// The members of a JSON object in their order.
///
/// Look-up is a scan for small objects and a hash table for large ones (a vocabulary has 150,000
/// members).
public struct JSONObject: Sendable, Hashable {
    /// Objects above this size get an index.
    static let scanLimit = 12

    /// The names, in order, each once.
    public private(set) var keys: [String] = []
    /// The values, one for each key.
    public private(set) var values: [JSONValue] = []
    private var index: [String: Int] = [:]

    /// An object without members.
    public init() {}

    /// An object with these members; of equal names the last value stays, at the first place.
    public init(_ members: some Sequence<(String, JSONValue)>) {
        for (key, value) in members { self[key] = value }
    }

    /// How many members there are.
    public var count: Int { keys.count }
    /// Whether there are none.
    public var isEmpty: Bool { keys.isEmpty }

    /// The members in order.
    public var members: Zip2Sequence<[String], [JSONValue]> { zip(keys, values) }

    /// The value of `key`; setting nil removes the member.
    public subscript(key: String) -> JSONValue? {
        get { position(of: key).map { values[$0] } }
        set {
            switch (position(of: key), newValue) {
            case (let place?, let value?): values[place] = value
            case (nil, let value?): append(key, value)
            case (let place?, nil): remove(at: place)
            case (nil, nil): break
            }
        }
    }

    /// Adds a member; false, and nothing changes, where the name is taken.
    mutating func appendIfNew(_ key: String, _ value: JSONValue) -> Bool {
        guard position(of: key) == nil else { return false }
        append(key, value)
        return true
    }

    private func position(of key: String) -> Int? {
        keys.count > Self.scanLimit ? index[key] : keys.firstIndex(of: key)
    }

    private mutating func append(_ key: String, _ value: JSONValue) {
        keys.append(key)
        values.append(value)
        if keys.count == Self.scanLimit + 1 {
            for (place, name) in keys.enumerated() { index[name] = place }
        } else if keys.count > Self.scanLimit {
            index[key] = keys.count - 1
        }
    }

    private mutating func remove(at place: Int) {
        keys.remove(at: place)
        values.remove(at: place)
        index = [:]
        guard keys.count > Self.scanLimit else { return }
        for (place, name) in keys.enumerated() { index[name] = place }
    }

    /// Equal when names, values and order are equal.
    public static func == (a: Self, b: Self) -> Bool { a.keys == b.keys && a.values == b.values }

    /// Hashes names and values in order.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(keys)
        hasher.combine(values)
    }
}
