internal import Glibc

/// An IPv4 or IPv6 address: 4 or 16 bytes in network order.
package struct IPAddress: Sendable, Hashable {
    let bytes: [UInt8]

    init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Reads four decimal numbers without leading zeros, or the usual spellings of IPv6 without a zone.
    package init?(_ text: Substring) {
        let family = text.contains(":") ? AF_INET6 : AF_INET
        var bytes = [UInt8](repeating: 0, count: family == AF_INET6 ? 16 : 4)
        guard !text.utf8.contains(0), inet_pton(family, String(text), &bytes) == 1 else {
            return nil
        }
        self.bytes = bytes
    }

    /// Nil where it is of another family, or has a zone, which names a link of this machine.
    init?(_ raw: UnsafeMutablePointer<sockaddr>) {
        switch Int32(raw.pointee.sa_family) {
        case AF_INET:
            bytes = raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                withUnsafeBytes(of: address.pointee.sin_addr, Array.init)
            }
        case AF_INET6:
            let (bytes, zone) = raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                (withUnsafeBytes(of: $0.pointee.sin6_addr, Array.init), $0.pointee.sin6_scope_id)
            }
            guard zone == 0 else { return nil }
            self.bytes = bytes
        default: return nil
        }
    }

    /// As inet_ntop writes it.
    var text: String {
        var buffer = [CChar](repeating: 0, count: 64)
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes, &buffer, socklen_t(buffer.count)) != nil else { return "" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)),
            as: UTF8.self
        )
    }

    /// The IPv4 address inside an IPv4-mapped one, else itself.
    var unmapped: IPAddress {
        guard bytes.count == 16, bytes.prefix(12) == Self.mappedPrefix,
            let inner = IPAddress(bytes: Array(bytes.suffix(4)))
        else { return self }
        return inner
    }

    private static let mappedPrefix: ArraySlice<UInt8> = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
}

/// Addresses that begin with the same bits.
public struct IPNetwork: Sendable, Hashable {
    let prefix: IPAddress
    let length: Int

    /// Reads `10.0.0.0/8`, `::1/128`, or one address.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, parts.count <= 2, let address = IPAddress(first) else {
            return nil
        }
        let whole = address.bytes.count * 8
        let length = parts.count == 2 ? Int(parts[1]) : whole
        guard let length, (0...whole).contains(length) else { return nil }
        prefix = address
        self.length = length
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == prefix.bytes.count else { return false }
        return zip(address.bytes, prefix.bytes).enumerated().allSatisfy { place, pair in
            let bits = min(8, max(0, length - 8 * place))
            let mask = UInt8(truncatingIfNeeded: 0xFF00 >> bits)
            return pair.0 & mask == pair.1 & mask
        }
    }
}
