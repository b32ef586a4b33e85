internal import ArgumentParser
internal import CLinux
internal import Foundation
internal import Nginx
internal import Settings
internal import Spawn

/// `torchgate run`: nginx and the server in the foreground, as systemd would keep them.
///
/// This process binds the FastCGI socket and hands it down, so that no connection is refused while a
/// server that died is replaced. It starts a dead server again at once (after three in a row that lived
/// less than a second, a second later), ends with 1 when nginx ends by itself, and ends both on SIGINT
/// and SIGTERM. Workers of an nginx that was killed come to this process, which ends them too. Ready is when the server said so and nginx accepts connections.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run nginx and the server in the foreground, from the run directory."
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Print the development key of RUN_DIR/env, too, once all is ready.")
    var printKey = false

    func run() throws {
        let settings = try options.load()
        let house = try House(settings: settings, arguments: options.arguments, printsKey: printKey)
        try house.run()
    }
}

/// The processes of one run directory.
private final class House {
    private let settings: Settings
    private let arguments: [String]
    private let printsKey: Bool
    private let directory: String
    private let listener: Int32
    private let signals: Int32
    private var nginx: pid_t = 0
    /// nginx's process group, in which its workers stay when it was killed.
    private var nginxGroup: pid_t = 0
    /// When workers without a master are killed.
    private var workersEnd: UInt64?
    private var server: pid_t = 0
    private var serverStarted: UInt64 = 0
    private var shortLives = 0
    private var stopping = false
    private let news: NotifySocket
    private let door: FrontDoor
    private let bodies: BodyFolder
    private var serverIsReady = false
    private var isAnnounced = false
    private var nginxFailed = false

    init(settings: Settings, arguments: [String], printsKey: Bool) throws {
        self.settings = settings
        self.arguments = arguments
        self.printsKey = printsKey
        directory = settings.runDirectory
        try NginxFiles(settings: settings).write()
        let group: gid_t? = getgrnam(settings.nginx.user).map { $0.pointee.gr_gid }
        listener = tg_unix_listen(settings.fastCGISocket, 2048, 0o660)
        guard listener >= 0 else { throw SystemError("cannot bind \(settings.fastCGISocket)") }
        if let group { _ = chown(settings.fastCGISocket, uid_t.max, group) }
        let wanted = [SIGTERM, SIGINT, SIGHUP, SIGCHLD]
        signals = tg_signalfd(wanted, Int32(wanted.count))
        guard signals >= 0 else { throw SystemError("cannot watch signals") }
        news = try NotifySocket(path: "\(directory)/notify.sock")
        door = FrontDoor(settings)
        bodies = BodyFolder(settings)
    }

    func run() throws {
        try Data("\(getpid())\n".utf8).write(to: URL(fileURLWithPath: "\(directory)/torchgate.pid"))
        if settings.nginx.bodyDirectory.isEmpty { try bodies.make() }
        defer {
            bodies.remove()
            unlink(news.path)
            unlink("\(directory)/torchgate.pid")
        }
        unlink("\(directory)/ready")
        door.clear()
        // A worker whose master was killed would else be nobody's child, and hold the ports for ever.
        guard tg_adopt_orphans() == 0 else { throw SystemError("cannot adopt nginx's workers") }
        nginx = try spawn(
            [
                "/usr/sbin/nginx", "-p", directory, "-c", NginxFiles.mainFile(in: directory), "-e",
                "stderr",
            ],
            stdin: nil
        )
        nginxGroup = nginx
        try startServer()
        while true {
            var waiting = [signals, news.descriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            _ = poll(&waiting, 2, isAnnounced && workersEnd == nil ? -1 : 20)
            if let end = workersEnd, tg_monotonic_ns() > end, hasWorkers {
                kill(-nginxGroup, SIGKILL)
            }
            if news.heardReady() { serverIsReady = true }
            if serverIsReady, !isAnnounced, !stopping, door.isOpen(by: nginx) { announce() }
            while case let signal = tg_signalfd_read(signals), signal > 0 {
                if signal == SIGCHLD {
                    guard try reap() else { continue }
                    if nginxFailed { throw ExitCode(1) }
                    return
                } else if signal == SIGHUP {
                    signalNginx(SIGHUP)
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
                if stopping { signalNginx(SIGQUIT) } else { try restartServer() }
            } else if pid == nginx {
                nginx = 0
                // Those that are left take no new connections and finish what the server finishes.
                if hasWorkers { kill(-nginxGroup, SIGQUIT) }
                if !stopping {
                    nginxFailed = true
                    complain(status)
                    stop()
                }
            }
        }
        guard stopping, server == 0, nginx == 0 else { return false }
        guard hasWorkers else { return true }
        if workersEnd == nil { workersEnd = tg_monotonic_ns() + 5_000_000_000 }
        return false
    }

    /// Whether nginx is dead and workers of it are not.
    ///
    /// They are children of this process then, so that the group's number cannot be a stranger's.
    private var hasWorkers: Bool {
        guard nginx == 0, nginxGroup != 0 else { return false }
        var status: Int32 = 0
        return waitpid(-nginxGroup, &status, WNOHANG) >= 0
    }

    /// Pid 0 would be this whole process group, with whoever called.
    private func signalNginx(_ signal: Int32) {
        if nginx != 0 { kill(nginx, signal) }
    }

    private func complain(_ status: Int32) {
        let how =
            status & 0x7f == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
        let ports = [settings.server.port, settings.server.httpPort].filter { $0 > 0 }
            .map(String.init).joined(separator: " or ")
        let log = NginxFiles(settings: settings).configuration.errorLog
        let text = """
            torchgate run: nginx ended by itself (\(how)), so all ends; is port \(ports) another's? \
            See \(log)

            """
        FileHandle.standardError.write(Data(text.utf8))
    }

    /// Writes `ready`, for who waits for it, and prints the same; with the key only where it is asked for.
    private func announce() {
        isAnnounced = true
        let environment = "\(directory)/env"
        let file = URL(fileURLWithPath: "\(directory)/ready")
        try? Data(banner(key: "API_KEY in \(environment)").utf8).write(to: file, options: .atomic)
        let key = printsKey ? firstKey(environment) : nil
        print(banner(key: key ?? "API_KEY in \(environment)"), terminator: "")
        fflush(nil)
    }

    private func banner(key: String) -> String {
        guard settings.server.mode == .development else { return "Torchgate is ready.\n" }
        let base = "https://\(door.authority)"
        // Blanks are all that a path has here that a shell would take for more than a letter.
        let environment = "\(directory)/env"
        let quoted = environment.contains(" ") ? "\"\(environment)\"" : environment
        return """
            Torchgate is ready.
              URL      \(base)/v1
              CA file  \(settings.server.certificate)
              key      \(key)
              try      . \(quoted) && curl --cacert "$CA_FILE" $BASE_URL/v1/chat/completions \
            -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" \
            -d '{"stream":true,"messages":[{"role":"user","content":"What is the capital of France?"}]}'

            """
    }

    private func firstKey(_ environment: String) -> String? {
        let text = try? String(contentsOfFile: environment, encoding: .utf8)
        let line = text?.split(separator: "\n").first { $0.hasPrefix("API_KEY=") }
        return line.map { String($0.dropFirst("API_KEY=".count)) }
    }

    /// First the server, so that it can finish streams; nginx leaves after it.
    private func stop() {
        let again = stopping
        stopping = true
        unlink("\(directory)/ready")
        if server != 0 {
            kill(server, again ? SIGKILL : SIGTERM)
        } else {
            signalNginx(SIGTERM)
            if hasWorkers { kill(-nginxGroup, SIGKILL) }
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
            stdin: listener,
            environment: ["NOTIFY_SOCKET": news.path]
        )
    }

    private func spawn(_ words: [String], stdin: Int32?, environment own: [String: String] = [:])
        throws -> pid_t
    {
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(null) }
        let environment = ProcessInfo.processInfo.environment.merging(own) { $1 }
            .map { "\($0.key)=\($0.value)" }
        let pid = Spawn.start(
            words,
            environment: environment,
            streams: .init(input: stdin ?? null, output: 1, error: 2),
            parentDeathSignal: SIGTERM
        )
        guard let pid else { throw SystemError("cannot start \(words[0])") }
        return pid
    }
}
