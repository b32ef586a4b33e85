internal import ArgumentParser
internal import CLinux
internal import EngineLink
internal import FastCGI
internal import Foundation
internal import KeyStore
internal import Logging
internal import Logs
internal import Server
internal import Settings

/// `torchgate serve`: the server itself, behind an nginx that is already there.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve FastCGI requests until told to stop."
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Take the listening socket from systemd (LISTEN_FDS), or from standard input.")
    var inherited = false

    @Flag(help: "End the engine too when this process is told to stop.")
    var ownsEngine = false

    func run() throws {
        try Hardening.applyOrRestart()
        // Requests may carry images of many megabytes.
        tg_return_large_blocks()
        let (settings, notices) = try options.loadWithNotices()
        let log = try Self.logger(settings)
        for notice in notices { log.notice("\(notice)", metadata: ["part": "settings"]) }
        let wanted = [SIGTERM, SIGINT]
        let signals = tg_signalfd(wanted, Int32(wanted.count))
        guard signals >= 0 else { throw SystemError("cannot watch signals") }
        let keys =
            try settings.authEnabled
            ? KeyStore.openForServer(Self.stateFiles(settings), toleratesFailure: true) : nil
        if let keys, keys.failure == nil, keys.liveKeyCount() == 0 {
            log.warning("there is no live key yet: `torchgate keys create` makes one")
        }
        let application = Application(
            settings: settings,
            keys: keys,
            launchers: settings.engineSockets.map { Self.launcher(settings, socket: $0) },
            log: log
        )
        let listener = try FastCGIListener(
            settings: try fastCGISettings(settings, application, log),
            handler: application.handle
        )
        let house = ServingHouse(
            application: application,
            listener: listener,
            settings: settings,
            log: log,
            ownsEngine: ownsEngine
        )
        try house.run(signals: signals)
    }

    private static func logger(_ settings: Settings) throws -> Logger {
        try LineLogHandler.bootstrap(
            path: settings.log.file,
            level: settings.log.level,
            json: settings.log.format == .json
        )
        return Logger(label: "torchgate")
    }

    /// The pepper comes as a credential under systemd, else it lies where the `keys` commands take it from.
    static func stateFiles(_ settings: Settings) -> StateFiles {
        let state = settings.stateDirectory
        if let credentials = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] {
            let pepper = "\(credentials)/key-pepper"
            if FileManager.default.fileExists(atPath: pepper) {
                return StateFiles(state: state, pepper: pepper, pepperIsCredential: true)
            }
        }
        // No setting: the commands that make keys look at the same variable.
        if let pepper = ProcessInfo.processInfo.environment["TORCHGATE_PEPPER_FILE"],
            !pepper.isEmpty
        {
            return StateFiles(state: state, pepper: pepper)
        }
        return StateFiles(state: state)
    }

    private static func launcher(_ settings: Settings, socket: String) -> any EngineLauncher {
        if settings.engine.activation { return SocketLauncher(path: socket) }
        let executable = settings.engine.executable
        return SpawnLauncher(
            socketPath: socket,
            executable: executable.isEmpty ? nil : executable,
            threads: settings.engine.threads == 0 ? nil : settings.engine.threads,
            environment: [
                "TORCHGATE_LOG_FORMAT": settings.log.format.rawValue,
                "TORCHGATE_LOG_LEVEL": settings.log.level,
            ]
        )
    }

    private func fastCGISettings(
        _ settings: Settings,
        _ application: Application,
        _ log: Logger
    ) throws -> FastCGISettings {
        let source: FastCGISettings.Source
        if inherited {
            guard let socket = InheritedSockets.find(named: "fcgi") else {
                throw ValidationError("no listening socket was handed down")
            }
            source = .inherited(socket)
        } else {
            let group = getgrnam(settings.nginx.user).map { UInt32($0.pointee.gr_gid) }
            source = .path(settings.fastCGISocket, mode: 0o660, group: group)
        }
        var fastCGI = FastCGISettings(sources: [source])
        fastCGI.maxExchanges = settings.server.maxConnections
        fastCGI.maxBodyBytes = settings.limits.bodyBytes
        fastCGI.maxBodyBytesInHand = settings.limits.bodyBytesTotal
        for name in settings.server.socketUsers + [settings.nginx.user] {
            if let user = getpwnam(name) { fastCGI.allowedUsers.insert(user.pointee.pw_uid) }
        }
        fastCGI.refused = { user in
            let name = getpwuid(user).map { String(cString: $0.pointee.pw_name) } ?? "unknown"
            log.warning(
                "refused a connection of another user; see nginx.user and server.socket_users",
                metadata: ["uid": "\(user)", "user": "\(name)"]
            )
        }
        fastCGI.overloaded = application.overloaded
        return fastCGI
    }
}

/// The running server: ready, watched, stopped.
private struct ServingHouse {
    let application: Application
    let listener: FastCGIListener
    let settings: Settings
    let log: Logger
    let ownsEngine: Bool

    func run(signals: Int32) throws {
        let reactor = Thread { [listener, application] in
            _ = tg_set_thread_name("reactor")
            listener.run(tick: {
                application.tick()
                if application.isAlive { Systemd.notify("WATCHDOG=1") }
            })
        }
        reactor.stackSize = 1 << 20
        reactor.start()
        log.notice("ready", metadata: ["version": "\(Version.text)"])
        Systemd.notify("READY=1\nSTATUS=ready")
        application.preload()
        var waiting = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
        while true {
            _ = poll(&waiting, 1, -1)
            if tg_signalfd_read(signals) > 0 { break }
        }
        stop(signals)
    }

    /// A second signal ends it at once.
    private func stop(_ signals: Int32) {
        Systemd.notify("STOPPING=1\nSTATUS=draining")
        log.notice("stopping", metadata: ["running": "\(listener.exchanges)"])
        let seconds = settings.server.drainTimeout
        let impatient = Thread {
            var waiting = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            _ = poll(&waiting, 1, -1)
            _exit(130)
        }
        impatient.start()
        let unload = ownsEngine
        let draining = Thread { [application] in
            application.stop(drainSeconds: seconds, unload: unload)
        }
        draining.start()
        let left = listener.stop(drainSeconds: seconds + 1)
        while !draining.isFinished { usleep(2000) }
        listener.finish()
        log.notice("stopped", metadata: ["unfinished": "\(left)"])
    }
}
