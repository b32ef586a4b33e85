internal import EngineLink
internal import JSON
internal import NVML

/// Memory of the device that models run on, at one moment.
package struct DeviceMemory: Sendable, Equatable {
    /// `cpu`, or `cuda:0` and the like, with commas between several.
    package var device: String
    /// Bytes that tensors hold; on the CPU resident bytes of the engines.
    package var allocated: Int
    /// Bytes that the allocators hold, caches included; on the CPU resident bytes of the engines.
    package var reserved: Int
    /// Bytes of the device's memory, all GPUs of the engines together; nil where nobody tells.
    package var total: Int?
    /// Bytes of it that can be had; nil where nobody tells.
    package var free: Int?

    /// Memory of these sizes.
    package init(device: String, allocated: Int, reserved: Int, total: Int?, free: Int?) {
        self.device = device
        self.allocated = allocated
        self.reserved = reserved
        self.total = total
        self.free = free
    }

    /// The part that is taken, by whomever, 0…1; nil where nobody tells.
    var usage: Double? {
        guard let total, let free, total > 0 else { return nil }
        return Double(total - min(free, total)) / Double(total)
    }

    /// Whether models run on GPUs.
    var isOnGPU: Bool { device != "cpu" }

    /// What /vram_status says: GiB, as PyTorch's users count, and percent.
    var members: [(String, JSONValue)] {
        [
            ("device", .string(device)), ("allocated_gb", Self.gib(allocated)),
            ("reserved_gb", Self.gib(reserved)), ("free_gb", Self.gib(free)),
            ("total_gb", Self.gib(total)),
            ("usage_percentage", usage.map { .double(($0 * 1000).rounded() / 10) } ?? .null),
        ]
    }

    private static func gib(_ bytes: Int?) -> JSONValue {
        bytes.map { .double((Double($0) / 1_073_741_824 * 1000).rounded() / 1000) } ?? .null
    }

    /// Bytes in words: MiB below one GiB.
    static func words(_ bytes: Int) -> String {
        let gib = Double(bytes) / 1_073_741_824
        return gib < 1
            ? "\(Int((gib * 1024).rounded())) MiB" : "\((gib * 10).rounded() / 10) GiB"
    }
}

extension [GPU] {
    /// Those at these addresses; an engine that does not tell its own is taken to be on the first.
    func at(_ addresses: Set<BusAddress>) -> [GPU] {
        let own = filter { addresses.contains($0.address) }
        return own.isEmpty ? Array(prefix(1)) : own
    }

    var totalBytes: Int { reduce(0) { $0.addingReportingOverflow($1.totalBytes).partialValue } }
    var freeBytes: Int { reduce(0) { $0.addingReportingOverflow($1.freeBytes).partialValue } }
}

extension LoadedModel {
    /// Whether it runs on a GPU.
    var isOnGPU: Bool { device.hasPrefix("cuda") }
}
