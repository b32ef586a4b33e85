import Foundation
import Synchronization
import Testing
import Torch

/// The device's library for tests, which runs the GPU's kernels on the CPU; `make test` builds it.
enum EmulatedDevice {
    private static let turn = Mutex(())

    /// Runs `body` with its tensors on the emulated device; one test at a time, as an engine is one thread.
    static func run<Value>(_ body: () throws -> Value) throws -> Value {
        try turn.withLock { _ in
            let library = URL(filePath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
                .appending(path: ".build/cuda/libtorchgate_emulated.so").path
            let refusal = Device.start(library: library, needsDriver: false, cache: nil)
            try #require(refusal == nil, "\(refusal ?? "")")
            Device.use(true)
            defer { Device.use(false) }
            return try body()
        }
    }

    /// The same with `bytes` of memory for sequences.
    static func run(bytes: Int, _ body: () throws -> Void) throws {
        try run {
            setenv("TORCHGATE_EMULATED_BYTES", "\(bytes)", 1)
            defer { unsetenv("TORCHGATE_EMULATED_BYTES") }
            try body()
        }
    }
}
