import CTorch

/// The GPU of this process: one, started once, used by the threads that say so.
public enum Device {
    /// Bytes of the device's memory.
    public struct Memory: Sendable, Equatable {
        /// All.
        public var total = 0
        /// What nobody has.
        public var free = 0
        /// What tensors have.
        public var allocated = 0
        /// What the allocator holds, its cache included.
        public var reserved = 0
    }

    /// Loads `library`, which computes on the device, and what it needs; nil, or the sentence why not.
    ///
    /// Before the process's first tensor. `needsDriver`: a GPU's driver and libtorch's CUDA library come
    /// first, and where there is no driver nothing else is loaded. `cache`: a folder for compiled kernels.
    public static func start(library: String, needsDriver: Bool, cache: String?) -> String? {
        var message = [CChar](repeating: 0, count: 1024)
        let started = tg_start_device(library, needsDriver, cache, &message, message.count)
        if started { return nil }
        let bytes = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether this thread's new tensors go to the device; false without one that was started.
    public static var isUsed: Bool { tg_on_device() }
    /// Lets this thread's new tensors go to the device, or to the CPU again.
    public static func use(_ use: Bool) { tg_use_device(use) }
    /// `cuda:0`; empty without a device.
    public static var name: String { String(cString: tg_device_name()) }
    /// What the GPU is sold as.
    public static var model: String { String(cString: tg_device_model()) }
    /// Address on the bus, as NVML takes it.
    public static var busID: String { String(cString: tg_device_bus()) }
    /// What the device's memory holds now; zeros without a device.
    public static var memory: Memory {
        let memory = tg_memory_of_device()
        return Memory(
            total: Int(memory.total),
            free: Int(memory.free),
            allocated: Int(memory.allocated),
            reserved: Int(memory.reserved)
        )
    }
    /// Gives cached memory, and graphs, back.
    public static func trim() { tg_trim_device() }
    /// Whether an error has spoilt the device for this process.
    public static var isLost: Bool { tg_device_lost() }
}

extension Tensor {
    /// Elements of unknown value in the host's memory, wherever this thread's tensors go.
    package static func emptyOnCPU(_ shape: [Int], _ dtype: DType) -> Tensor {
        Tensor(tg_empty_on_cpu(dtype.code, shape.map(Int64.init), Int32(shape.count)))
    }

    /// The same values where this thread's tensors go.
    package func placed() -> Tensor { Tensor(tg_place(handle)) }

    /// Whether this is a tensor of the device.
    package var isOnDevice: Bool { tg_is_on_device(handle) }

    /// The first element's address where the tensor is dense; on the device not to be followed.
    package var address: UnsafeMutableRawPointer? { tg_address(handle) }

    /// Puts memory behind a range of bytes of a reserved tensor on the device; there is some on the CPU.
    ///
    /// False, and the sticky error, where there is none left.
    package func commit(offset: Int, bytes: Int) -> Bool {
        tg_commit(handle, Int64(offset), Int64(bytes))
    }

    /// Copies the first bytes of `other` over those of `self`.
    package func copyBytes(from other: Tensor, count: Int) {
        _ = tg_copy_bytes(handle, other.handle, Int64(count))
    }
}
