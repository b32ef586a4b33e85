internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import JSON
internal import Logging
internal import Models

/// Times a model's decode, prefill, streams and images inside the engine, without a server around it.
///
/// Loads with `ModelLoader` and steps a `ServedEngine`, as serving does: what is quick here only is not
/// measured.
public final class EngineBench {
    let options: Options
    let checkpoint: Checkpoint
    let traffic: () throws -> StepTraffic
    var session: BenchSession?
    var report = JSONObject()
    private var rows: [JSONValue] = []
    /// Steps before those that are timed: graphs are captured, caches and clocks come up.
    static let warmSteps = 4

    /// Measures and prints a line a row; a row that fails says why and does not stop the others.
    ///
    /// Answers whether all rows have numbers.
    /// - Throws: what a load can throw.
    public static func run(_ options: Options) throws -> Bool {
        try EngineBench(options).run()
    }

    private init(_ options: Options) throws {
        self.options = options
        let checkpoint =
            options.invents
            ? try Checkpoint(inventing: options.model) : try Checkpoint(opening: options.model)
        self.checkpoint = checkpoint
        traffic = {
            guard let dtype = ModelRegistry.computeType(options.dtype),
                let form = WeightForm(dtype: options.dtype, quantize: options.quantize)
            else { throw BenchError(description: "unknown dtype or quantisation") }
            return StepTraffic(checkpoint, dtype: dtype, form: form)
        }
    }

    /// The longest sequence of any row; decodes go on while other prompts are still computed.
    var longest: Int {
        let context = options.prompt?.count ?? options.context
        let most = options.batches.max() ?? 0
        let waits = most * context / max(1, options.stepTokens - most) + most
        let decode = context + Self.warmSteps + options.steps + waits + 16
        let images = options.images.map { $0.width * $0.height / 196 + 64 }
        let others = [options.prefills.max() ?? 0, images.max() ?? 0, context + options.generated]
        return max(options.batches.isEmpty ? 0 : decode, others.max() ?? 0) + 1
    }

    private func run() throws -> Bool {
        let before = Memory.residentBytes
        let slots = max(1, (options.batches + options.streams).max() ?? 1)
        var request = LoadRequest(
            path: options.model,
            modelID: URL(fileURLWithPath: options.model).lastPathComponent,
            device: options.device,
            dtype: options.dtype,
            quantize: options.quantize,
            maxSlots: slots,
            maxContext: longest,
            stepTokens: options.stepTokens,
            threads: options.threads
        )
        request.visionCacheBytes = 0
        var loader = ModelLoader(request: request, endpoint: nil, log: Logger(label: "bench"))
        loader.checkpoint = checkpoint
        loader.library = DeviceLibrary(environment: ProcessInfo.processInfo.environment)
        // Once a process: what follows is the model's own time.
        let began = Memory.now()
        _ = try loader.library.start(request.device)
        report["device_seconds"] = .double(Double(Memory.now() - began) / 1e9)
        let engine = try loader.load()
        session = BenchSession(engine)
        describe(engine, before: before)
        var isWhole = true
        for work in try work() {
            do {
                let row = try work.perform()
                say(row.line)
                rows.append(row.json)
            } catch {
                isWhole = false
                say("\(work.name) failed: \(error)")
                rows.append(["kind": .string(work.name), "error": .string("\(error)")])
            }
            session?.clear()
            write()
        }
        report["after"] = memory(engine)
        write()
        return isWhole
    }

    private func describe(_ engine: ServedEngine, before: Int) {
        let model = engine.description
        report["model"] = .string(model.modelID)
        report["invented"] = .bool(options.invents)
        report["device"] = .string(model.device)
        report["dtype"] = .string(model.dtype)
        report["quantize"] = .string(options.quantize)
        report["weights"] = .string(model.weights)
        report["slots"] = .int(model.slots)
        report["kv_tokens"] = .int(model.kvTokens)
        report["load_seconds"] = .double(model.loadSeconds)
        report["before"] = ["resident_bytes": .int(before)]
        report["loaded"] = memory(engine)
        let seconds = String(format: "%.3f", model.loadSeconds)
        say("\(model.modelID): \(model.numbers) on \(model.device), loaded in \(seconds) s")
        write()
    }

    /// A line that is out even if the next row ends the process.
    private func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    private func memory(_ engine: ServedEngine) -> JSONValue {
        let stats = engine.stats
        return [
            "resident_bytes": .int(stats.residentBytes),
            "allocated_bytes": .int(stats.allocatedBytes),
            "reserved_bytes": .int(stats.reservedBytes),
        ]
    }

    private func write() {
        guard let file = options.report else { return }
        report["rows"] = .array(rows)
        try? Data(JSONValue.object(report).bytes(.pretty)).write(to: file, options: .atomic)
    }
}
