internal import ArgumentParser
internal import Foundation
internal import Nginx
internal import Settings

/// nginx's files for these settings.
struct NginxFiles {
    let settings: Settings

    var configuration: NginxConfiguration {
        var nginx = NginxConfiguration()
        let run = settings.runDirectory
        nginx.isDevelopment = settings.server.mode == .development
        nginx.user = settings.nginx.user
        nginx.host = settings.server.host
        nginx.httpsPort = settings.server.port
        nginx.httpPort = settings.server.httpPort
        nginx.serverName = settings.server.name
        nginx.certificate = settings.server.certificate
        nginx.certificateKey = settings.server.certificateKey
        nginx.fastCGISocket = settings.fastCGISocket
        nginx.webSocketSocket = settings.webSocketSocket
        nginx.runDirectory = run
        if nginx.isDevelopment {
            nginx.accessLog = "\(run)/access.json"
            nginx.errorLog = Self.errorLog(in: run)
        }
        let body = settings.nginx.bodyDirectory
        nginx.bodyDirectory = body.isEmpty ? BodyFolder(settings).path : body
        nginx.bodyBytes = settings.limits.bodyBytes
        nginx.addressRate = settings.nginx.addressRate
        nginx.addressBurst = settings.nginx.addressBurst
        nginx.keyRate = settings.nginx.keyRate
        nginx.keyBurst = settings.nginx.keyBurst
        nginx.keyConnections = settings.nginx.keyConnections
        nginx.totalConnections = settings.nginx.totalConnections
        nginx.readTimeout = Int(settings.limits.requestTimeout) + 20
        nginx.authTimeout = Int(settings.server.drainTimeout.rounded(.up)) + 5
        return nginx
    }

    /// nginx's error log in a run directory, in development.
    static func errorLog(in run: String) -> String { "\(run)/nginx-error.log" }
    /// The folder of the files in a run directory.
    static func folder(in run: String) -> String { "\(run)/nginx" }
    /// The file that nginx is started with.
    static func mainFile(in run: String) -> String { "\(folder(in: run))/nginx.conf" }

    /// Writes the files into the run directory, or into `output`.
    func write(to output: String? = nil) throws {
        let folder = output ?? Self.folder(in: settings.runDirectory)
        if let problem = Settings.problem(ofPath: folder) {
            throw ValidationError("\(folder): \(problem)")
        }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for file in configuration.render(folder: folder) {
            try file.content.write(
                toFile: "\(folder)/\(file.name)",
                atomically: true,
                encoding: .utf8
            )
        }
    }
}

/// `torchgate nginx render`.
struct NginxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nginx",
        abstract: "nginx's configuration.",
        subcommands: [Render.self]
    )

    struct Render: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write nginx's files for these settings."
        )

        @OptionGroup var options: SettingsOptions

        @Option(help: "Folder to write to; default nginx/ in the run directory.")
        var output: String?

        func run() throws {
            let settings = try options.load()
            let folder = output ?? NginxFiles.folder(in: settings.runDirectory)
            try NginxFiles(settings: settings).write(to: folder)
            print("\(folder)/nginx.conf")
        }
    }
}
