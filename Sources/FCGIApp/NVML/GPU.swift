/// A GPU and its memory, as NVIDIA's management library tells.
public struct GPU: Sendable, Equatable {
    /// Where it sits.
    public var address: BusAddress
    /// Its name, such as `NVIDIA L4`.
    public var name: String
    /// Bytes of its memory.
    public var totalBytes: Int
    /// Bytes that nobody holds.
    public var freeBytes: Int

    /// Describes a GPU.
    public init(address: BusAddress, name: String, totalBytes: Int, freeBytes: Int) {
        self.address = address
        self.name = name
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
    }
}

/// A device's address on the PCI bus; CUDA and NVML write the domain with different widths.
public struct BusAddress: Sendable, Hashable {
    /// `domain:bus:device`, each in hexadecimal digits.
    public let domain: UInt32, bus: UInt32, device: UInt32

    /// An address of numbers.
    public init(domain: UInt32, bus: UInt32, device: UInt32) {
        (self.domain, self.bus, self.device) = (domain, bus, device)
    }

    /// Reads `0000:01:00.0`; nil where it is none.
    public init?(_ text: String) {
        let parts = text.prefix { $0 != "." }.split(
            separator: ":",
            omittingEmptySubsequences: false
        )
        let numbers = parts.compactMap { UInt32($0, radix: 16) }
        guard parts.count == 3, numbers.count == 3 else { return nil }
        self.init(domain: numbers[0], bus: numbers[1], device: numbers[2])
    }
}

/// What NVML sees.
public enum GPUSight: Sendable, Equatable {
    /// These GPUs, in its order; at least one.
    case gpus([GPU])
    /// None, for this reason.
    case nothing(String)

    /// The GPUs; empty where none are seen.
    public var all: [GPU] { if case .gpus(let gpus) = self { gpus } else { [] } }
}
