internal import CLinux
internal import Foundation
internal import Spawn

/// What systemd hands down and wants to hear; a few bytes, so no library.
enum Systemd {
    /// Sends a state to the service manager; does nothing outside a unit.
    static func notify(_ state: String) {
        guard let path = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"] else { return }
        let bytes = Array(state.utf8)
        _ = tg_unix_datagram_send(path, bytes, bytes.count)
    }
}

/// Hears what a child tells with `Systemd.notify`, as the service manager does.
struct NotifySocket {
    /// What the child's NOTIFY_SOCKET must say.
    let path: String
    /// Becomes readable when there is news.
    let descriptor: Int32

    /// Binds the path anew.
    init(path: String) throws {
        self.path = path
        unlink(path)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard path.utf8.count < room.count else { return false }
            room.copyBytes(from: path.utf8)
            return true
        }
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC | O_NONBLOCK, 0)
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0
            }
        }
        guard fits, isBound else { throw SystemError("cannot bind \(path)") }
    }

    /// Takes all messages; whether one of them said READY=1.
    func heardReady() -> Bool {
        var isReady = false
        var bytes = [UInt8](repeating: 0, count: 4096)
        while case let count = recv(descriptor, &bytes, bytes.count, 0), count >= 0 {
            let lines = bytes[..<count].split(separator: UInt8(ascii: "\n"))
            isReady = isReady || lines.contains { $0.elementsEqual("READY=1".utf8) }
        }
        return isReady
    }
}

/// Listening sockets that were open when the process started.
enum InheritedSockets {
    /// The socket with this name (LISTEN_FDNAMES), else standard input where that is a socket.
    static func find(named name: String) -> Int32? {
        let environment = ProcessInfo.processInfo.environment
        if let count = environment["LISTEN_FDS"].flatMap(Int32.init), count > 0, count < 64,
            environment["LISTEN_PID"].flatMap(Int32.init) ?? getpid() == getpid()
        {
            let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":").map(String.init)
            if let place = names.firstIndex(of: name) { return 3 + Int32(place) }
            if names.isEmpty || count == 1 { return 3 }
        }
        var info = stat()
        guard fstat(0, &info) == 0, info.st_mode & S_IFMT == S_IFSOCK else { return nil }
        // Free descriptor 0 for /dev/null, so that nothing reads from the socket by mistake.
        let socket = fcntl(0, F_DUPFD_CLOEXEC, 3)
        let null = open("/dev/null", O_RDONLY)
        if null >= 0 {
            dup2(null, 0)
            close(null)
        }
        return socket >= 0 ? socket : nil
    }
}

/// What a process that holds keys does before anything else.
enum Hardening {
    /// Refuses core dumps, tracing and new executable memory; sees to it that a crash report prints no
    /// registers, since those point at secrets (Swift's runtime reads that variable at its start only).
    static func applyOrRestart() throws {
        let name = "SWIFT_BACKTRACE"
        if ProcessInfo.processInfo.environment[name] == nil {
            setenv(name, "enable=yes,registers=none,color=no", 1)
            Spawn.withCStrings(CommandLine.arguments) { argv in
                _ = execv(executablePath(), argv)
            }
            throw SystemError("cannot restart with \(name)")
        }
        _ = tg_disable_core_dumps()
        _ = tg_set_dumpable(0)
        _ = tg_refuse_exec_gain()
        _ = tg_raise_file_limit()
        umask(0o077)
    }
}
