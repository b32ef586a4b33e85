internal import ArgumentParser
internal import Foundation
internal import JSON
internal import Server
internal import Settings

/// `torchgate render`: what a chat request becomes, as JSON.
struct RenderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render",
        abstract: "Print the prompt and token ids that a chat request becomes."
    )

    @OptionGroup var options: RenderSettings

    @Option(help: "A model's id, folder or file.")
    var model: String

    @Option(help: "File with the request's JSON; - for standard input.")
    var request: String

    @Option(help: "Folder for the pixels of images and clips: 0.rgb, 1.rgb …")
    var framesTo: String?

    func run() throws {
        let settings = try options.load()
        do {
            let data =
                request == "-"
                ? FileHandle.standardInput.readDataToEndOfFile() : Data(try readFile(request))
            let value = try JSONValue.parse(data)
            let rendered = try Rendering.render(
                model: model,
                request: value,
                settings: settings,
                frames: framesTo
            )
            print(rendered.text())
        } catch {
            FileHandle.standardError.write(Data("torchgate render: \(error)\n".utf8))
            throw ExitCode(1)
        }
    }
}

/// The settings without `--model`, which means something else here.
struct RenderSettings: ParsableArguments {
    @Option(help: "YAML file; default /etc/torchgate/torchgate.yaml where there is one.")
    var config: String?

    func load() throws -> Settings {
        var words: [String] = []
        if let config { words = ["--config", config] }
        return try SettingsOptions.parse(words).load()
    }
}
