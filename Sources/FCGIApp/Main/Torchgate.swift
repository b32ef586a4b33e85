internal import AdminCLI
internal import ArgumentParser

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
}
