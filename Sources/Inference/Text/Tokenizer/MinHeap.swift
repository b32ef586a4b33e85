/// A heap of numbers, smallest first.
///
/// Each node has four children: half the levels of a binary heap, and the children lie in one cache
/// line.
struct MinHeap {
    private var storage: [UInt64] = []

    /// The smallest number.
    @inline(__always) var first: UInt64? { storage.first }

    /// Adds a number.
    @inline(__always) mutating func push(_ value: UInt64) {
        var at = storage.count
        storage.append(value)
        storage.withUnsafeMutableBufferPointer { heap in
            while at > 0 {
                let parent = (at &- 1) >> 2
                if heap[parent] <= value { break }
                heap[at] = heap[parent]
                at = parent
            }
            heap[at] = value
        }
    }

    /// Takes the smallest number.
    @inline(__always) mutating func pop() -> UInt64? {
        guard let last = storage.popLast() else { return nil }
        guard let top = storage.first else { return last }
        storage[0] = last
        sink(0)
        return top
    }

    private mutating func sink(_ start: Int) {
        storage.withUnsafeMutableBufferPointer { heap in
            let count = heap.count
            let value = heap[start]
            var at = start
            while true {
                let first = 4 &* at &+ 1
                if first >= count { break }
                var child = first
                var smallest = heap[first]
                for other in (first &+ 1)..<max(first &+ 1, min(first &+ 4, count))
                where heap[other] < smallest {
                    child = other
                    smallest = heap[other]
                }
                if smallest >= value { break }
                heap[at] = smallest
                at = child
            }
            heap[at] = value
        }
    }
}
