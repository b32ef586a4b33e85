internal import Glibc

/// Runs work that recurses as deep as its input says on a thread with room for the bounded depth, so that
/// the caller's small stack does not matter.
enum DeepStack {
    /// Bytes of address space; only what is used becomes memory.
    private static let bytes = 64 << 20

    private final class Job: @unchecked Sendable {
        // Used by one thread at a time: pthread_join orders the two.
        let work: () -> Void
        init(_ work: @escaping () -> Void) { self.work = work }
    }

    /// Runs `body` on such a thread and waits for it.
    /// - Throws: what `body` throws, or `TemplateError` of kind limit where no thread can be made.
    static func run<T>(_ body: () throws(TemplateError) -> T) throws(TemplateError) -> T {
        var result: Result<T, TemplateError> = .failure(
            TemplateError(.limit, "no thread for the template")
        )
        withoutActuallyEscaping(body) { body in
            let job = Job {
                do throws(TemplateError) { result = .success(try body()) } catch {
                    result = .failure(error)
                }
            }
            let attributes = UnsafeMutablePointer<pthread_attr_t>.allocate(capacity: 1)
            defer { attributes.deallocate() }
            pthread_attr_init(attributes)
            pthread_attr_setstacksize(attributes, bytes)
            var thread: pthread_t = 0
            let context = Unmanaged.passRetained(job)
            let made = pthread_create(
                &thread,
                attributes,
                { context in
                    if let context {
                        Unmanaged<Job>.fromOpaque(context).takeUnretainedValue().work()
                    }
                    return nil
                },
                context.toOpaque()
            )
            if made == 0 { pthread_join(thread, nil) }
            context.release()
            pthread_attr_destroy(attributes)
        }
        return try result.get()
    }
}
