internal import Settings
internal import Foundation

extension Doctor {
    /// The ports that nginx listens at.
    func ports() -> [Finding] {
        let server = settings.server
        var findings = [
            port("HTTPS port", server.host, server.port, setting: "server.port")
        ]
        if server.httpPort > 0 {
            let host = isProduction ? server.host : "127.0.0.1"
            findings.append(
                port("HTTP port", host, server.httpPort, setting: "server.http_port")
            )
        }
        return findings
    }

    /// Tries to bind a port, and looks for its holder where that fails.
    package func port(_ name: String, _ host: String, _ port: Int, setting: String) -> Finding {
        let place = "\(host):\(port)"
        switch Self.bindError(host, port) {
        case 0: return .ok(name, "\(place) is free")
        case EADDRINUSE: return held(name, place, port, setting)
        case EACCES:
            return .skipped(name, "\(place): only root may bind it")
        case EADDRNOTAVAIL:
            return .failure(
                name,
                "this machine has no address \(host)",
                mend: "set server.host to one of `ip address`, or to 0.0.0.0"
            )
        case let code:
            let text = code < 0 ? "is no address" : String(cString: strerror(code))
            return .failure(name, "\(place): \(text)", mend: "correct server.host and \(setting)")
        }
    }

    private func held(_ name: String, _ place: String, _ port: Int, _ setting: String) -> Finding {
        let holders = Listeners.holders(ofPort: port)
        let pidFile = "\(settings.runDirectory)/nginx.pid"
        let ours = (try? String(contentsOfFile: pidFile, encoding: .utf8)).flatMap {
            Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        if let ours, holders.contains(where: { $0.pid == ours }) {
            return .ok(name, "\(place) is held by this server's nginx (pid \(ours))")
        }
        guard let holder = holders.min(by: { $0.pid < $1.pid }) else {
            guard isRoot else {
                return .skipped(name, "\(place) is held; only root may see by whom")
            }
            return .failure(
                name,
                "\(place) is held by a process that is not seen from here",
                mend: "end it (ss -ltnp names it), or set \(setting)"
            )
        }
        let service = holder.name == "nginx" ? " (systemctl disable --now nginx)" : ""
        return .failure(
            name,
            "\(place) is held by \(holder.name) (pid \(holder.pid))",
            mend: "end it\(service), or set \(setting)"
        )
    }

    /// 0, the error of binding, or -1 where the host is no address.
    private static func bindError(_ host: String, _ port: Int) -> Int32 {
        guard (1...65535).contains(port) else { return EINVAL }
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        let plain = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(plain == "*" ? nil : plain, "\(port)", &hints, &list) == 0,
            let first = list
        else { return -1 }
        defer { freeaddrinfo(list) }
        let info = first.pointee
        let trial = Glibc.socket(info.ai_family, info.ai_socktype, info.ai_protocol)
        guard trial >= 0 else { return errno }
        defer { close(trial) }
        // As nginx does, so that connections that have just ended do not count.
        var on: Int32 = 1
        setsockopt(trial, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        return bind(trial, info.ai_addr, info.ai_addrlen) == 0 ? 0 : errno
    }
}
