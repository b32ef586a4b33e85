internal import ArgumentParser
internal import EngineLink
internal import Foundation
internal import Settings

/// The flags of every command that needs the settings.
struct SettingsOptions: ParsableArguments {
    @Option(help: "YAML file; default /etc/torchgate/torchgate.yaml where there is one.")
    var config: String?

    @Option(help: "YAML file that any other source overrides.")
    var defaults: String?

    @Option(help: "File of NAME=value lines; default .env in the working folder.")
    var envFile: String?

    @Option(help: "Address of the HTTPS listener.")
    var host: String?

    @Option(help: "HTTPS port.")
    var port: Int?

    @Option(help: "The model of requests that name none.")
    var model: String?

    @Option(name: .customLong("set"), help: "A setting, as name=value; may be repeated.")
    var settings: [String] = []

    /// The flags again, for a child.
    var arguments: [String] {
        var words: [String] = []
        func add(_ name: String, _ value: String?) { if let value { words += [name, value] } }
        add("--config", config)
        add("--defaults", defaults)
        add("--env-file", envFile)
        add("--host", host)
        add("--port", port.map(String.init))
        add("--model", model)
        for setting in settings { words += ["--set", setting] }
        return words
    }

    /// The files that are read and the other sources, for people.
    var sources: [String] {
        let files = [
            defaults,
            Self.file(config, standard: "/etc/torchgate/torchgate.yaml"),
            Self.file(envFile, standard: ".env"),
        ]
        return files.compactMap { $0 } + ["environment", "flags"]
    }

    private static func file(_ named: String?, standard: String) -> String? {
        named ?? (FileManager.default.fileExists(atPath: standard) ? standard : nil)
    }

    /// The text of a file of settings, with its name for messages.
    private static func read(_ path: String?) throws -> (name: String, text: String)? {
        guard let path else { return nil }
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try readFile(path) } catch {
            throw ValidationError("\(error)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ValidationError("cannot read \(path): not UTF-8 text")
        }
        return (path, text)
    }

    /// The settings from all sources.
    func load() throws -> Settings { try loadWithNotices().settings }

    /// The settings, and lines for the log about variables of other servers.
    func loadWithNotices() throws -> (settings: Settings, notices: [String]) {
        var loader = SettingsLoader()
        loader.defaults = try Self.read(defaults)
        loader.file = try Self.read(Self.file(config, standard: "/etc/torchgate/torchgate.yaml"))
        loader.environmentFile = try Self.read(Self.file(envFile, standard: ".env"))
        loader.environment = ProcessInfo.processInfo.environment
        if let host { loader.flags.append("server.host=\(host)") }
        if let port { loader.flags.append("server.port=\(port)") }
        if let model { loader.flags.append("models.default=\(model)") }
        loader.flags += settings
        do { return try loader.loadWithNotices() } catch { throw ValidationError("\(error)") }
    }
}

/// What `--version` prints.
enum Version {
    static var text: String { Build.version }
}
