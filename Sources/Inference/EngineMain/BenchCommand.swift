internal import ArgumentParser
internal import Engine
internal import Foundation

/// `torchgate-engine bench`: how quick a model is here, without a server around it.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Time decode, prefill, streams and images of a model inside the engine.",
        discussion:
            "Lists are numbers between commas. docs/benchmarks/gpu.md says what each row is."
    )

    @Option(help: "Model folder, or .gguf file.")
    var model: String?

    @Option(help: "Folder with a config.json, for made-up weights of its shapes; needs --random.")
    var config: String?

    @Flag(help: "Make the weights up.")
    var random = false

    @Option(help: "cpu, cuda or auto.")
    var device = "cpu"

    @Option(help: "auto, float32, bfloat16 or float16.")
    var dtype = "auto"

    @Option(help: "Quantise weights that are floats: none, nf4, int8 or int4.")
    var quantize = "none"

    @Option(help: "Sequences that decode together.")
    var batch = ""

    @Option(help: "Tokens of prompts.")
    var prefill = ""

    @Option(help: "Requests sent at once and run to their end.")
    var streams = ""

    @Option(help: "Tokens that each stream draws.")
    var generate = 64

    @Option(help: "Images, as 1024x1024.")
    var image = ""

    @Option(help: "Tokens of the prompts of --batch and --streams.")
    var context = 1024

    @Option(help: "Token ids between commas for those prompts; the report tells what they drew.")
    var ids: String?

    @Option(help: "Timed steps of a decode.")
    var steps = 64

    @Option(help: "Times that a prompt is computed.")
    var repeats = 5

    @Option(help: "Rows of a step: the server's engine.step_tokens.")
    var stepTokens = 512

    @Option(help: "Compute threads on the CPU.")
    var threads: Int?

    @Option(help: "GB/s of the device's memory, for the roofline.")
    var bandwidth: Double?

    @Option(help: "TFLOP/s of the device, for the roofline.")
    var tflops: Double?

    @Option(help: "File for the report, written again after each row.")
    var json: String?

    func run() throws {
        var options = EngineBench.Options()
        switch (model, config) {
        case (let path?, nil) where !random: options.model = path
        case (nil, let folder?) where random: (options.model, options.invents) = (folder, true)
        default: throw ValidationError("give --model, or --config with --random")
        }
        options.device = device
        options.dtype = dtype
        options.quantize = quantize
        options.batches = try numbers(batch, "--batch", 1...4096)
        options.prefills = try numbers(prefill, "--prefill", 1...1_000_000)
        options.streams = try numbers(streams, "--streams", 1...4096)
        options.generated = try within(generate, "--generate", 1...100_000)
        options.images = try image.split(separator: ",").map { word in
            let sides = word.split(separator: "x").compactMap { Int($0) }
            guard sides.count == 2, sides.allSatisfy({ (1...16384).contains($0) }) else {
                throw ValidationError("--image must be like 1024x1024")
            }
            return (sides[0], sides[1])
        }
        options.context = try within(context, "--context", 1...1_000_000)
        if let ids {
            options.prompt = try numbers(ids, "--ids", 0...Int(Int32.max)).map {
                Int32(clamping: $0)
            }
            guard options.prompt?.isEmpty == false else { throw ValidationError("--ids is empty") }
        }
        options.steps = try within(steps, "--steps", 1...100_000)
        options.repeats = try within(repeats, "--repeats", 1...1000)
        options.stepTokens = try within(stepTokens, "--step-tokens", 1...1_000_000)
        options.threads = try threads.map { try within($0, "--threads", 1...1024) }
        options.bandwidth = bandwidth.flatMap { $0 > 0 ? $0 : nil }
        options.arithmetic = tflops.flatMap { $0 > 0 ? $0 : nil }
        options.report = json.map { URL(fileURLWithPath: $0) }
        let isWhole: Bool
        do { isWhole = try EngineBench.run(options) } catch {
            FileHandle.standardError.write(Data("torchgate-engine bench: \(error)\n".utf8))
            throw ExitCode(1)
        }
        if !isWhole { throw ExitCode(2) }
    }

    private func numbers(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws -> [Int]
    {
        try text.split(separator: ",").map { word in
            guard let number = Int(word.filter { !$0.isWhitespace }), range.contains(number) else {
                throw ValidationError("\(name) must be numbers in \(range) between commas")
            }
            return number
        }
    }

    private func within(_ value: Int, _ name: String, _ range: ClosedRange<Int>) throws -> Int {
        guard range.contains(value) else { throw ValidationError("\(name) must be in \(range)") }
        return value
    }
}
