// Which addresses media may be fetched from. Denied unless global unicast: the tables of IANA's special
// purpose registries, and IPv4 addresses that hide in IPv6 ones.

internal import Glibc

/// The rules for addresses, ports and hosts.
public struct EgressGuard: Sendable {
    /// Networks that are allowed besides the public ones, on every port.
    public var networks: [IPNetwork]
    /// Hosts that alone are allowed, `*.example.com` for all below one; empty = all.
    public var hosts: [String]
    /// Whether plain http is fetched too.
    public var allowsHTTP: Bool

    /// Public addresses only.
    public init(networks: [IPNetwork] = [], hosts: [String] = [], allowsHTTP: Bool = true) {
        self.networks = networks
        self.hosts = hosts.map { $0.lowercased() }
        self.allowsHTTP = allowsHTTP
    }

    /// Whether a name may be asked at all.
    package func permits(host: String) -> Bool {
        hosts.isEmpty
            || hosts.contains { pattern in
                pattern.hasPrefix("*.")
                    ? host.hasSuffix(pattern.dropFirst()) && host.count > pattern.count - 1
                    : host == pattern
            }
    }

    /// Whether a connection to the address may be opened.
    package func permits(_ address: IPAddress, port: Int, isEncrypted: Bool) -> Bool {
        let plain = address.unmapped
        if networks.contains(where: { $0.contains(plain) || $0.contains(address) }) { return true }
        guard port == 443 || port == 80, isEncrypted || allowsHTTP else { return false }
        return Self.isPublic(address) && !OwnAddresses.contains(address)
    }

    package static func isPublic(_ address: IPAddress) -> Bool {
        let plain = address.unmapped
        if plain.bytes.count == 4 { return !deniedV4.contains { $0.contains(plain) } }
        guard let global, global.contains(plain) else {
            // NAT64's well-known prefix carries an IPv4 address in its last four bytes.
            guard let translated, translated.contains(plain),
                let inner = IPAddress(bytes: Array(plain.bytes.suffix(4)))
            else { return false }
            return isPublic(inner)
        }
        return !deniedV6.contains { $0.contains(plain) }
    }

    private static let deniedV4 = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    ].compactMap(IPNetwork.init)
    private static let global = IPNetwork("2000::/3")
    private static let translated = IPNetwork("64:ff9b::/96")
    /// Special assignments (Teredo is one), documentation, 6to4 and the documentation of SRv6.
    private static let deniedV6 = [
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].compactMap(IPNetwork.init)
}

/// The addresses of this machine's interfaces, public ones too: nothing behind them is outside.
private enum OwnAddresses {
    static func contains(_ address: IPAddress) -> Bool {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return true }
        defer { freeifaddrs(list) }
        var next = list
        while let entry = next {
            next = entry.pointee.ifa_next
            guard let raw = entry.pointee.ifa_addr else { continue }
            if IPAddress(raw)?.unmapped == address.unmapped { return true }
        }
        return false
    }
}
