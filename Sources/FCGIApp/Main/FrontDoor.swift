internal import Foundation
internal import Settings

/// The HTTPS port of a run directory's own nginx.
struct FrontDoor {
    private let host: String
    private let port: Int
    private let pidFile: String

    init(_ settings: Settings) {
        let bare = settings.server.host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        host = ["0.0.0.0": "127.0.0.1", "::": "::1"][bare] ?? bare
        port = settings.server.port
        pidFile = "\(settings.runDirectory)/nginx.pid"
    }

    /// The address and port for clients on this machine.
    var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Forgets an nginx that was here before.
    func clear() { unlink(pidFile) }

    /// Whether this nginx accepts connections.
    ///
    /// A connection alone could be another program's, which holds the port while nginx still tries to
    /// bind it: nginx writes its pid only after it has bound all its ports.
    func isOpen(by nginx: pid_t) -> Bool {
        let written = try? String(contentsOfFile: pidFile, encoding: .utf8)
        guard let written, pid_t(written.trimmingCharacters(in: .whitespacesAndNewlines)) == nginx
        else { return false }
        return connects()
    }

    private func connects() -> Bool {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return false }
        defer { freeaddrinfo(list) }
        var next = list
        while let address = next?.pointee {
            next = address.ai_next
            let kind = address.ai_socktype | O_CLOEXEC
            let descriptor = socket(address.ai_family, kind, address.ai_protocol)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            if connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return true }
        }
        return false
    }
}
