internal import Glibc

/// Hands values from several threads to one, in order; the one may wait for them.
///
/// `@unchecked Sendable`: every access to `items` holds `lock`.
package final class Mailbox<Item: Sendable>: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let filled = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var items: [Item] = []

    /// An empty mailbox.
    package init() {
        pthread_mutex_init(lock, nil)
        pthread_cond_init(filled, nil)
    }

    deinit {
        pthread_cond_destroy(filled)
        pthread_mutex_destroy(lock)
        filled.deallocate()
        lock.deallocate()
    }

    /// Adds items and wakes the reader.
    package func put(_ new: some Sequence<Item>) {
        pthread_mutex_lock(lock)
        items += new
        pthread_cond_broadcast(filled)
        pthread_mutex_unlock(lock)
    }

    /// Takes everything that is there; when blocking, waits until there is something.
    package func takeAll(blocking: Bool) -> [Item] {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while blocking, items.isEmpty { pthread_cond_wait(filled, lock) }
        defer { items = [] }
        return items
    }
}
