internal import Synchronization

/// The memory that the pixels of all requests may take together.
final class PixelRoom: Sendable {
    private let most: Int
    private let used = Mutex(0)

    init(bytes: Int) { most = bytes }

    /// A share that is given back when it is let go.
    final class Lease: Sendable {
        private let room: PixelRoom
        private let bytes: Int

        fileprivate init(_ room: PixelRoom, _ bytes: Int) {
            self.room = room
            self.bytes = bytes
        }

        deinit { room.used.withLock { $0 -= bytes } }
    }

    func lease(_ bytes: Int) throws(MediaError) -> Lease {
        let fits = used.withLock { used in
            guard bytes <= most - used else { return false }
            used += bytes
            return true
        }
        guard fits else { throw .busy }
        return Lease(self, bytes)
    }
}
