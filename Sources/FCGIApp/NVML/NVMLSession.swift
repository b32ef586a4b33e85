internal import Glibc

/// Why NVML tells nothing, in words for an operator.
struct NVMLProblem: Error {
    let text: String
}

/// The library between `nvmlInit` and `nvmlShutdown`; used by one thread.
struct NVMLSession {
    // As nvml.h declares them; nvmlReturn_t is an int, nvmlDevice_t a pointer.
    private typealias Plain = @convention(c) () -> Int32
    private typealias Count = @convention(c) (UnsafeMutablePointer<UInt32>) -> Int32
    private typealias Handle =
        @convention(c) (UInt32, UnsafeMutablePointer<OpaquePointer?>) -> Int32
    private typealias Text =
        @convention(c) (OpaquePointer, UnsafeMutablePointer<CChar>, UInt32) -> Int32
    private typealias Fill = @convention(c) (OpaquePointer, UnsafeMutableRawPointer) -> Int32
    private typealias Message = @convention(c) (Int32) -> UnsafePointer<CChar>?

    private let library: UnsafeMutableRawPointer

    /// Loads and initialises.
    init(_ name: String) throws(NVMLProblem) {
        guard let opened = dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
            throw NVMLProblem(text: dlerror().map { String(cString: $0) } ?? "\(name) is not there")
        }
        library = opened
        do throws(NVMLProblem) {
            let start = try function("nvmlInit_v2", Plain.self)
            try check(start(), "nvmlInit_v2")
        } catch {
            dlclose(opened)
            throw error
        }
    }

    /// Ends it.
    func close() {
        if let end = try? function("nvmlShutdown", Plain.self) { _ = end() }
        dlclose(library)
    }

    /// Every GPU with its memory now.
    func gpus() throws(NVMLProblem) -> [GPU] {
        var count: UInt32 = 0
        let counted = try function("nvmlDeviceGetCount_v2", Count.self)
        try check(counted(&count), "nvmlDeviceGetCount_v2")
        guard count > 0 else { throw NVMLProblem(text: "the driver has no GPU") }
        var gpus: [GPU] = []
        for index in 0..<min(count, 64) { gpus.append(try gpu(index)) }
        return gpus
    }

    private func gpu(_ index: UInt32) throws(NVMLProblem) -> GPU {
        var handle: OpaquePointer?
        let found = try function("nvmlDeviceGetHandleByIndex_v2", Handle.self)
        try check(found(index, &handle), "nvmlDeviceGetHandleByIndex_v2")
        guard let handle else { throw NVMLProblem(text: "a GPU without a handle") }
        // nvmlMemory_t: total, free, used.
        var memory: (UInt64, UInt64, UInt64) = (0, 0, 0)
        let told = try function("nvmlDeviceGetMemoryInfo", Fill.self)
        try check(told(handle, &memory), "nvmlDeviceGetMemoryInfo")
        // nvmlPciInfo_t: 16 bytes of text, then domain, bus and device; 68 bytes in all.
        var place = [UInt32](repeating: 0, count: 32)
        let placed = try function("nvmlDeviceGetPciInfo_v3", Fill.self)
        try check(placed(handle, &place), "nvmlDeviceGetPciInfo_v3")
        var name = [CChar](repeating: 0, count: 97)
        if let named = try? function("nvmlDeviceGetName", Text.self) {
            _ = named(handle, &name, 96)
        }
        let letters = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return GPU(
            address: BusAddress(domain: place[4], bus: place[5], device: place[6]),
            name: String(decoding: letters, as: UTF8.self),
            totalBytes: Int(clamping: memory.0),
            freeBytes: Int(clamping: min(memory.1, memory.0))
        )
    }

    private func function<F>(_ name: String, _: F.Type) throws(NVMLProblem) -> F {
        guard let symbol = dlsym(library, name) else {
            throw NVMLProblem(text: "the driver's library lacks \(name)")
        }
        return unsafeBitCast(symbol, to: F.self)
    }

    private func check(_ code: Int32, _ name: String) throws(NVMLProblem) {
        guard code != 0 else { return }
        let message = (try? function("nvmlErrorString", Message.self)).flatMap { $0(code) }
        throw NVMLProblem(
            text: "\(name): \(message.map { String(cString: $0) } ?? "error \(code)")"
        )
    }
}
