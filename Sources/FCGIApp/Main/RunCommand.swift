internal import ArgumentParser
internal import CLinux
internal import Foundation
internal import Nginx
internal import Settings

/// `torchgate run`: nginx and the server in the foreground, as systemd would keep them.
///
/// This process binds the FastCGI socket and hands it down, so that no connection is refused while a
/// server that died is replaced. It starts a dead server again at once (after three in a row that lived
/// less than a second, a second later), ends when nginx ends, and ends both on SIGINT and SIGTERM.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run nginx and the server in the foreground, from the run directory."
    )

    @OptionGroup var options: SettingsOptions

    func run() throws {
        let settings = try options.load()
        let house = try House(settings: settings, arguments: options.arguments)
        try house.run()
    }
}

/// The processes of one run directory.
private final class House {
    private let settings: Settings
    private let arguments: [String]
    private let directory: String
    private let listener: Int32
    private let signals: Int32
    private var nginx: pid_t = 0
    private var server: pid_t = 0
    private var serverStarted: UInt64 = 0
    private var shortLives = 0
    private var stopping = false

    init(settings: Settings, arguments: [String]) throws {
        self.settings = settings
        self.arguments = arguments
        directory = settings.runDirectory
        try NginxFiles(settings: settings).write()
        let group: gid_t? = getgrnam(settings.nginx.user).map { $0.pointee.gr_gid }
        listener = tg_unix_listen(settings.fastCGISocket, 2048, 0o660)
        guard listener >= 0 else { throw SystemError("cannot bind \(settings.fastCGISocket)") }
        if let group { _ = chown(settings.fastCGISocket, uid_t.max, group) }
        let wanted = [SIGTERM, SIGINT, SIGHUP, SIGCHLD]
        signals = tg_signalfd(wanted, Int32(wanted.count))
        guard signals >= 0 else { throw SystemError("cannot watch signals") }
    }

    func run() throws {
        try Data("\(getpid())\n".utf8).write(to: URL(fileURLWithPath: "\(directory)/torchgate.pid"))
        defer { unlink("\(directory)/torchgate.pid") }
        nginx = try spawn(
            [
                "/usr/sbin/nginx", "-p", directory, "-c", NginxFiles.mainFile(in: directory), "-e",
                "stderr",
            ],
            stdin: nil
        )
        try startServer()
        while true {
            var waiting = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            _ = poll(&waiting, 1, -1)
            while case let signal = tg_signalfd_read(signals), signal > 0 {
                if signal == SIGCHLD {
                    if try reap() { return }
                } else if signal == SIGHUP {
                    kill(nginx, SIGHUP)
                } else {
                    stop()
                }
            }
        }
    }

    /// Collects ended children.
    ///
    /// True when there is nothing left to do.
    private func reap() throws -> Bool {
        var status: Int32 = 0
        while case let pid = waitpid(-1, &status, WNOHANG), pid > 0 {
            if pid == server {
                server = 0
                if stopping { kill(nginx, SIGQUIT) } else { try restartServer() }
            } else if pid == nginx {
                nginx = 0
                if !stopping {
                    FileHandle.standardError.write(Data("nginx ended; see \(directory)\n".utf8))
                    stop()
                }
            }
        }
        return stopping && server == 0 && nginx == 0
    }

    /// First the server, so that it can finish streams; nginx leaves after it.
    private func stop() {
        let again = stopping
        stopping = true
        unlink("\(directory)/ready")
        if server != 0 {
            kill(server, again ? SIGKILL : SIGTERM)
        } else if nginx != 0 {
            kill(nginx, SIGTERM)
        }
    }

    private func restartServer() throws {
        shortLives = tg_monotonic_ns() - serverStarted < 1_000_000_000 ? shortLives + 1 : 0
        if shortLives >= 3 { usleep(1_000_000) }
        try startServer()
    }

    private func startServer() throws {
        serverStarted = tg_monotonic_ns()
        let program = executablePath()
        server = try spawn(
            [program, "serve", "--inherited", "--owns-engine"] + arguments,
            stdin: listener
        )
    }

    private func spawn(_ words: [String], stdin: Int32?) throws -> pid_t {
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(null) }
        let environment = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
        let pid = withCStrings(words) { argv in
            withCStrings(environment) { envp in
                tg_spawn(argv, envp, stdin ?? null, 1, 2, nil, 0, 0, SIGTERM)
            }
        }
        guard pid > 0 else { throw SystemError("cannot start \(words[0])") }
        return pid
    }
}
