/// Finds the first of several stop strings in text that comes in pieces.
///
/// An automaton of Aho and Corasick over UTF-8: linear in the text whatever the strings are, and its
/// state says how many bytes at the end could still become a stop string. Of overlapping strings the
/// one that starts first wins, of those the shortest, so that the answer does not depend on how the
/// text was cut into pieces.
struct StopMatcher: Sendable {
    private struct Node {
        var byte: UInt8 = 0
        var firstChild: Int32 = 0
        var sibling: Int32 = 0
        var failure: Int32 = 0
        var depth: Int32 = 0
        /// Length of the longest stop string that ends here; 0 where none does.
        var longest: Int32 = 0
    }

    /// Node 0 is the root; 0 also stands for no child, since the root is nobody's child.
    private var nodes = [Node()]

    /// Nil where there is nothing to look for.
    init?(_ strings: [String]) {
        let strings = strings.filter { !$0.isEmpty }
        guard !strings.isEmpty else { return nil }
        for string in strings {
            var node = 0
            for byte in string.utf8 { node = child(of: node, byte) ?? addChild(of: node, byte) }
            nodes[node].longest = nodes[node].depth
        }
        link()
    }

    private func child(of node: Int, _ byte: UInt8) -> Int? {
        var place = Int(nodes[node].firstChild)
        while place != 0, nodes[place].byte != byte { place = Int(nodes[place].sibling) }
        return place == 0 ? nil : place
    }

    private mutating func addChild(of node: Int, _ byte: UInt8) -> Int {
        var child = Node(byte: byte, sibling: nodes[node].firstChild)
        child.depth = nodes[node].depth + 1
        nodes.append(child)
        nodes[node].firstChild = Int32(nodes.count - 1)
        return nodes.count - 1
    }

    /// Sets the failure links, nearest to the root first.
    private mutating func link() {
        var queue = [0]
        var head = 0
        while head < queue.count {
            let parent = queue[head]
            head += 1
            var place = Int(nodes[parent].firstChild)
            while place != 0 {
                if parent != 0 {
                    let failure = next(Int(nodes[parent].failure), nodes[place].byte)
                    nodes[place].failure = Int32(failure)
                    if nodes[place].longest == 0 { nodes[place].longest = nodes[failure].longest }
                }
                queue.append(place)
                place = Int(nodes[place].sibling)
            }
        }
    }

    private func next(_ node: Int, _ byte: UInt8) -> Int {
        var node = node
        while true {
            if let child = child(of: node, byte) { return child }
            if node == 0 { return 0 }
            node = Int(nodes[node].failure)
        }
    }

    /// A place in one text.
    struct Cursor: Sendable {
        private var node = 0
        /// Bytes seen.
        private(set) var position = 0
        /// Where the best stop string found so far starts, while one that starts earlier can still
        /// come.
        private(set) var match: Int?

        /// Before the text's first byte.
        init() {}

        /// Passes over text in which nothing is looked for.
        mutating func skip(_ count: Int) {
            position += count
            node = 0
        }

        /// Takes a byte; true once `match` is final.
        mutating func advance(_ byte: UInt8, in matcher: StopMatcher) -> Bool {
            node = matcher.next(node, byte)
            position += 1
            let found = matcher.nodes[node]
            if found.longest > 0 {
                match = min(match ?? .max, position - Int(found.longest))
            }
            guard let match else { return false }
            return position - Int(found.depth) >= match
        }

        /// Up to here no byte can be part of a stop string that is still to come.
        func safe(in matcher: StopMatcher) -> Int { position - Int(matcher.nodes[node].depth) }
    }
}
