internal import AdminCLI
internal import ArgumentParser
internal import Settings
internal import Synchronization

/// `torchgate`: the server and its operator's commands.
@main
struct Torchgate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "torchgate",
        abstract: "An OpenAI-compatible inference server.",
        version: Version.text,
        subcommands: [
            ServeCommand.self, RunCommand.self, Keys.self, NginxCommand.self, RenderCommand.self,
            SettingsCommand.self, ModelsCommand.self, DoctorCommand.self,
        ]
    )

    /// Tells the operator's commands where the settings lie, then runs the command.
    static func main() {
        StateDirectory.fromSettings.withLock {
            $0 = { config in
                let words = config.map { ["--config", $0] } ?? []
                return try SettingsOptions.parse(words).load().stateDirectory
            }
        }
        main(nil)
    }
}
