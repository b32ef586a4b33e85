internal import ArgumentParser
internal import CLinux
internal import Engine
internal import EngineLink
internal import Foundation
internal import Logging
internal import Logs

/// `torchgate-engine`: one process, one model.
@main
struct TorchgateEngine: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "torchgate-engine",
        abstract: "Runs one model for a torchgate server.",
        version: Build.version,
        subcommands: [Serve.self, Logits.self, BenchCommand.self]
    )

    /// Serves a front until it is told to end, or no front comes back.
    struct Serve: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Serve the front that connects.")

        @Option(help: "Path of the unix socket to listen on.")
        var socket: String?

        @Flag(help: "Take the listening socket that systemd hands down.")
        var inherited = false

        func run() throws {
            try Self.startLog()
            let listener: EngineEndpoint.Listener
            if inherited {
                listener = .inherited(3)
            } else if let socket {
                listener = .path(socket)
            } else {
                throw ValidationError("give --socket PATH or --inherited")
            }
            _ = tg_disable_core_dumps()
            _ = tg_set_thread_name("engine")
            signal(SIGPIPE, SIG_IGN)
            let endpoint: EngineEndpoint
            do {
                endpoint = try EngineEndpoint(
                    listener: listener,
                    build: Build.version,
                    work: { EngineLoop.work }
                )
            } catch {
                throw ValidationError("\(error)")
            }
            EngineLoop(
                endpoint: endpoint,
                library: DeviceLibrary(environment: ProcessInfo.processInfo.environment),
                log: Logger(label: "torchgate-engine")
            ).run()
        }

        /// The front passes its own log settings in the environment; under systemd the unit does.
        private static func startLog() throws {
            let variables = ProcessInfo.processInfo.environment
            try LineLogHandler.bootstrap(
                level: variables["TORCHGATE_LOG_LEVEL"] ?? "info",
                json: variables["TORCHGATE_LOG_FORMAT"] != "text"
            )
        }
    }

    /// The parity tool.
    struct Logits: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the logits of every position of a prompt as safetensors."
        )

        @Option(help: "Model folder, or .gguf file.")
        var model: String

        @Option(help: "Token ids between commas.")
        var ids: String?

        @Option(help: "File of a chat request, in place of --ids; images and clips as data URLs.")
        var request: String?

        @Option(
            help:
                "Folder with what `torchgate render --frames-to` makes of one, printed as rendered.json."
        )
        var rendered: String?

        @Option(help: "float32, bfloat16 or auto.")
        var dtype = "float32"
        @Option(help: "Quantise weights that are floats: none, nf4, int8 or int4.")
        var quantize = "none"

        @Option(help: "cpu, cuda or auto.")
        var device = "cpu"

        @Option(help: "Also continue greedily by so many tokens.")
        var greedy = 0

        @Option(help: "The file to write.")
        var output: String

        /// The server's setting.
        private static var videoPositions: String {
            let name = "TORCHGATE_COMPAT_QWEN2_5_VL_VIDEO_POSITIONS"
            return ProcessInfo.processInfo.environment[name] ?? "original"
        }

        private func prompt() throws -> LogitsTool.Prompt {
            switch (ids, request, rendered) {
            case (nil, let request?, nil): return .request(request)
            case (nil, nil, let folder?): return .rendered(folder)
            default: break
            }
            guard let ids, request == nil, rendered == nil else {
                throw ValidationError("give one of --ids, --request and --rendered")
            }
            let words = ids.split(separator: ",").map { $0.filter { !$0.isWhitespace } }
            let tokens = words.compactMap { Int32($0) }
            guard tokens.count == words.count, !tokens.isEmpty else {
                throw ValidationError("--ids must be token ids between commas")
            }
            return .ids(tokens)
        }

        func run() throws {
            let prompt = try prompt()
            do {
                try LogitsTool.run(
                    model: model,
                    prompt: prompt,
                    dtype: dtype,
                    quantize: quantize,
                    device: device,
                    library: DeviceLibrary(environment: ProcessInfo.processInfo.environment),
                    greedy: greedy,
                    videoPositions: Self.videoPositions,
                    output: output
                )
            } catch {
                FileHandle.standardError.write(Data("torchgate-engine logits: \(error)\n".utf8))
                throw ExitCode(1)
            }
        }
    }
}
