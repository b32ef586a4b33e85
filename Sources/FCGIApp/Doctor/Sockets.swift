internal import Settings
internal import CLinux
internal import Glibc

extension Doctor {
    /// The longest path that the kernel takes for a socket, with its final zero.
    private static let longestPath = 108

    /// The sockets between nginx, server and engine.
    func sockets() -> [Finding] {
        var findings = [
            socket("server socket", settings.fastCGISocket, setting: "server.socket") {
                let connection = tg_unix_connect($0)
                if connection >= 0 { close(connection) }
                return connection >= 0
            }
        ]
        // Connecting would start an engine or disturb one: the file alone is looked at.
        findings.append(
            socket("engine socket", settings.engineSocket, setting: "engine.socket") { _ in nil }
        )
        if settings.webSocketSocket.utf8.count >= Self.longestPath {
            let finding = socket(
                "WebSocket socket",
                settings.webSocketSocket,
                setting: "paths.run_dir"
            ) { _ in nil }
            findings.append(finding)
        }
        return findings
    }

    /// Looks at a socket's path.
    ///
    /// `isHeld`: whether somebody answers there; nil where that must not be tried.
    package func socket(
        _ name: String,
        _ path: String,
        setting: String,
        isHeld: (String) -> Bool?
    ) -> Finding {
        guard path.utf8.count < Self.longestPath else {
            return .failure(
                name,
                "\(path) has \(path.utf8.count) bytes, more than \(Self.longestPath - 1)",
                mend: "set \(setting) or paths.run_dir to something shorter"
            )
        }
        if path.hasPrefix("@") { return .ok(name, "\(path), an abstract name") }
        let folder = FileFacts.parent(of: path)
        guard let facts = FileFacts(path) else {
            guard errno == ENOENT else {
                return .failure(
                    name,
                    "\(path): \(systemMessage())",
                    mend: "run this as the server's user, or as root"
                )
            }
            return unbound(name, path, folder)
        }
        guard facts.isSocket else {
            return .failure(name, "\(path) is no socket", mend: "move it away")
        }
        switch isHeld(path) {
        case true?: return .ok(name, "\(path) is held by a live server")
        case nil: return .ok(name, "\(path) is there")
        case false?: break
        }
        if errno == EACCES {
            return .skipped(name, "\(path) is there, but may not be connected to by this user")
        }
        guard FileFacts.isWritable(folder) else {
            return .failure(
                name,
                "\(path) is left over, and \(folder) cannot be written",
                mend: "run this as the server's user, or remove it"
            )
        }
        return .ok(name, "\(path) is left over; the next start replaces it")
    }

    private func unbound(_ name: String, _ path: String, _ folder: String) -> Finding {
        if FileFacts(folder) == nil {
            guard isProduction else {
                return .failure(name, "there is no folder \(folder)", mend: "mkdir -p \(folder)")
            }
            return .warning(
                name,
                "there is no folder \(folder) yet",
                mend: "start the units (docs/operations.md); the socket's unit makes it"
            )
        }
        guard FileFacts.isWritable(folder) else {
            return .failure(
                name,
                "\(folder): \(systemMessage())",
                mend: "run this as the server's user, or give \(folder) to it"
            )
        }
        return .ok(name, "\(path) can be bound")
    }
}
