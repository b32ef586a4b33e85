import CTorch

/// A failure inside libtorch or a kernel, with its message.
public struct TorchError: Error, Equatable, CustomStringConvertible {
    /// What libtorch said.
    public let message: String
    /// The same.
    public var description: String { message }
}

/// The process-wide side of libtorch, and the edge where sticky errors become thrown ones.
public enum Torch {
    /// Starts the compute threads: `threads` for each operation, the caller among them.
    ///
    /// Called once before the first model; may be called again between operations.
    public static func start(threads: Int) { tg_start(Int32(clamping: threads)) }

    /// A counter that moves with every operation of our own kernels; any thread.
    public static var progress: UInt64 { tg_progress() }

    /// How many threads an operation uses.
    public static var threads: Int { Int(tg_threads()) }

    /// Which kernels run here: `avx512bf16`, `avx512`, `avx2` or `baseline`.
    public static var instructionSet: String { String(cString: tg_cpu()) }

    /// Which kernels multiply with quantised weights here: `vnni`, `avx512`, `avx2` or `baseline`.
    public static var quantisedInstructionSet: String { String(cString: tg_packed_cpu()) }

    /// Allows this thread kernels up to `level` (0 baseline, 1 AVX2, 2 AVX-512, 3 with BF16); for tests.
    public static func limitInstructionSet(to level: Int) { tg_limit_cpu(Int32(clamping: level)) }

    /// Runs `body` and throws the first error that an operation of this thread met inside it.
    ///
    /// Operations do not throw: a failed one answers an undefined tensor, and so does every later
    /// one that is given it.
    public static func checked<Value>(_ body: () throws -> Value) throws -> Value {
        tg_clear_error()
        defer { tg_clear_error() }
        let value = try body()
        if let message = tg_error() { throw TorchError(message: String(cString: message)) }
        return value
    }

    /// The thread's pending error, which is then forgotten.
    package static func takeError() -> String? {
        defer { tg_clear_error() }
        return tg_error().map { String(cString: $0) }
    }

    /// Makes `message` the thread's error unless there is one already.
    public static func fail(_ message: String) { tg_set_error(message) }
}
