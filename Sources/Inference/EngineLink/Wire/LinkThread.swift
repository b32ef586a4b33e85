internal import CLinux
internal import Glibc

/// Starts detached threads with a small stack.
package enum LinkThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        let name: String
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Runs `body` on a thread of its own; false where the system has none left.
    ///
    /// Of the name tools show 15 bytes.
    package static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, 1 << 20)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let boxed = Unmanaged.passRetained(Body(name: name, run: body))
        let result = pthread_create(
            &thread,
            &attributes,
            { argument in
                guard let argument else { return nil }
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                _ = tg_set_thread_name(body.name)
                body.run()
                return nil
            },
            boxed.toOpaque()
        )
        if result != 0 { boxed.release() }
        return result == 0
    }
}
