internal import ArgumentParser
internal import CLinux
internal import Checkpoints
internal import Doctor
internal import Foundation
internal import JSON
internal import Server
internal import Settings

/// `torchgate doctor`: whether this machine can serve, and what to mend.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check this machine; each finding comes with its mend.",
        discussion: "Takes the options of serve. Exits with 1 if there is a failure."
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        _ = tg_disable_core_dumps()
        let report = Report(findings())
        print(json ? report.json.text(.pretty) : report.text)
        if !report.isHealthy { throw ExitCode(1) }
    }

    private func findings() -> [Finding] {
        let settings: Settings
        do { settings = try options.load() } catch {
            let mend = "correct it where it stands; docs/configuration.md lists every setting"
            return [Finding("settings", .failure, Self.text(error), mend: mend)]
        }
        let mode = settings.server.mode.rawValue
        let read = Finding("settings", .ok, "\(options.sources.joined(separator: ", ")); \(mode)")
        return [read] + doctor(settings).examine()
    }

    private func doctor(_ settings: Settings) -> Doctor {
        let executable = settings.engine.executable
        let decoder = settings.media.executable
        let beside = URL(fileURLWithPath: executablePath()).deletingLastPathComponent().path
        return Doctor(
            settings: settings,
            nginx: NginxFiles(settings: settings).configuration,
            keys: ServeCommand.stateFiles(settings),
            engine: executable.isEmpty ? "\(beside)/torchgate-engine" : executable,
            media: decoder.isEmpty ? "\(beside)/torchgate-media" : decoder,
            version: Version.text,
            models: ModelFolders.entries(settings),
            readModel: { Self.problem(of: $0, settings) }
        )
    }

    /// Reads a model as the first request would.
    private static func problem(of entry: CatalogEntry, _ settings: Settings) -> String? {
        let request: JSONValue = ["messages": [["role": "user", "content": "Hello"]]]
        do {
            _ = try Rendering.render(model: entry.path, request: request, settings: settings)
            return nil
        } catch { return text(error) }
    }

    /// Foundation's errors hide the path in a description for developers.
    private static func text(_ error: any Error) -> String {
        guard let error = error as? CocoaError else { return "\(error)" }
        let path = error.userInfo[NSFilePathErrorKey].map { "\($0): " } ?? ""
        return path + error.localizedDescription
    }
}
