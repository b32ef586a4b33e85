// URLs that may be fetched: one strict reading, of which everything else is built. What two parsers could
// read differently (backslashes, user names, odd numbers as addresses, white space) is refused.

package struct MediaURL: Sendable, Equatable {
    static let longest = 2048

    let isEncrypted: Bool
    /// Lower case; a name, an IPv4 address, or an IPv6 address without its brackets.
    package let host: String
    /// The address where the host is one.
    let address: IPAddress?
    let port: Int
    /// Path and query as they came; begins with `/`.
    let target: String

    /// Nil where the text is not such a URL.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count <= Self.longest,
            bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }),
            !bytes.contains(UInt8(ascii: "#"))
        else { return nil }
        let lowered = text.lowercased()
        let scheme: String
        if lowered.hasPrefix("https://") {
            scheme = "https://"
        } else if lowered.hasPrefix("http://") {
            scheme = "http://"
        } else {
            return nil
        }
        isEncrypted = scheme == "https://"
        let rest = text.dropFirst(scheme.count)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let (authority, target) = (rest[..<end], rest[end...])
        self.target = target.hasPrefix("/") ? String(target) : "/\(target)"
        guard let (host, port) = Self.split(authority.lowercased()) else { return nil }
        guard let number = Self.port(port, standard: isEncrypted ? 443 : 80) else { return nil }
        self.port = number
        if host.hasPrefix("[") {
            guard let address = IPAddress(host.dropFirst().dropLast()), address.bytes.count == 16
            else { return nil }
            self.address = address
            self.host = String(host.dropFirst().dropLast())
        } else {
            guard Self.isName(host) else { return nil }
            let last = host.split(separator: ".").last ?? ""
            if last.utf8.allSatisfy({ $0 &- 0x30 < 10 }) || last.hasPrefix("0x") {
                guard let address = IPAddress(host[...]) else { return nil }
                self.address = address
            } else {
                address = nil
            }
            self.host = host
        }
    }

    /// The URL as the fetcher gets it.
    package var text: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return "\(isEncrypted ? "https" : "http")://\(name):\(port)\(target)"
    }

    /// Host, brackets included, and what stands behind its colon.
    private static func split(_ authority: String) -> (String, Substring?)? {
        guard !authority.contains("@") else { return nil }
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            let host = String(authority[...close])
            let rest = authority[authority.index(after: close)...]
            if rest.isEmpty { return (host, nil) }
            return rest.hasPrefix(":") ? (host, rest.dropFirst()) : nil
        }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let host = parts.first, !host.isEmpty else { return nil }
        return (String(host), parts.count == 2 ? parts[1] : nil)
    }

    private static func port(_ text: Substring?, standard: Int) -> Int? {
        guard let text else { return standard }
        guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ $0 &- 0x30 < 10 }),
            !text.hasPrefix("0"), let port = Int(text), port <= 65535
        else { return nil }
        return port
    }

    /// Labels of letters, digits, `-` and `_` between dots, none empty.
    private static func isName(_ host: String) -> Bool {
        guard host.utf8.count <= 253 else { return false }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x39, 0x61...0x7A, 0x2D, 0x5F: true
                    default: false
                    }
                }
        }
    }
}
