internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import Models
internal import NN
internal import Torch
internal import Vision

/// The parity tool: logits of every position of a prompt, and a greedy continuation.
public enum LogitsTool {
    /// What the logits are wanted of.
    public enum Prompt {
        /// Token ids.
        case ids([Int32])
        /// The file of a chat request, images and clips included.
        case request(String)
        /// A folder with what `torchgate render --frames-to` makes of one.
        case rendered(String)
    }

    /// Computes and writes a safetensors file with `logits` [T, V], `input_ids` [T] and, where asked,
    /// `greedy_tokens`; for a model that takes images also `position_ids` [3, T], and of what there is
    /// `pixel_values`, `image_grid_thw`, `image_features` and the same of clips.
    ///
    /// `videoPositions`: `original` or `hf517`.
    /// - Throws: an error whose description names file, tensor, expected and found.
    public static func run(
        model path: String,
        prompt: Prompt,
        dtype: String,
        quantize: String = "none",
        device: String,
        library: DeviceLibrary = DeviceLibrary(environment: [:]),
        greedy: Int,
        videoPositions: String = "original",
        output: String
    ) throws {
        let ids: [Int32]
        var sources: [MediaPrompt.Source] = []
        switch prompt {
        case .ids(let given): ids = given
        case .request(let file):
            let rendered = try RenderedRequest(model: path, request: file)
            ids = rendered.ids
            sources = rendered.media
        case .rendered(let folder):
            let rendered = try RenderedRequest(rendered: folder)
            (ids, sources) = (rendered.ids, rendered.media)
        }
        if let reason = try library.start(device), device == "auto" {
            FileHandle.standardError.write(Data("computing on the CPU: \(reason)\n".utf8))
        }
        guard let type = ModelRegistry.computeType(dtype) else {
            throw ModelError.config(
                key: "dtype",
                found: dtype,
                expected: "float32, bfloat16 or auto"
            )
        }
        guard let form = WeightForm(dtype: dtype, quantize: quantize) else {
            throw ModelError.config(
                key: "quantize",
                found: quantize,
                expected: "none, nf4, int8 or int4"
            )
        }
        Torch.start(threads: Memory.processors)
        let checkpoint = try Checkpoint(opening: path)
        let model = try ModelRegistry.load(
            checkpoint,
            dtype: type,
            form: form
        )
        guard !ids.isEmpty, ids.allSatisfy({ $0 >= 0 && Int($0) < model.vocabularySize }) else {
            throw ModelError.config(
                key: "ids",
                found: "\(ids.count) ids",
                expected: "ids below \(model.vocabularySize)"
            )
        }
        guard greedy >= 0, ids.count + greedy <= model.contextLength else {
            throw ModelError.config(
                key: "ids",
                found: "\(ids.count) + \(greedy) tokens",
                expected: "at most \(model.contextLength)"
            )
        }
        var writer = SafetensorsWriter()
        var seen: MediaPrompt?
        var features: [VisionFeatures] = []
        if let model = model as? any VisionLanguageModel {
            guard let rule = RotaryIndex.TimeRule(rawValue: videoPositions) else {
                throw ModelError.config(
                    key: "video positions",
                    found: videoPositions,
                    expected: "original or hf517"
                )
            }
            (seen, features) = try see(sources, ids.count, model, checkpoint, rule, &writer)
        } else if !sources.isEmpty {
            throw RenderedRequest.Failure(description: "the model takes text only")
        }
        let state = model.makeState(capacity: ids.count + greedy)
        let whole = 0..<ids.count
        let logits = try Torch.checked {
            var step = Step(
                tokens: ids,
                runs: [.init(state: state, count: ids.count)],
                outputRows: Array(whole)
            )
            if let seen {
                step.positions = seen.positions(whole)
                step.replacements = seen.replacements(whole, row: 0, features: features)
            }
            return model(step).floats
        }
        writer.add("logits", .float32, shape: [ids.count, model.vocabularySize], logits)
        writer.add("input_ids", .int64, shape: [ids.count], ids.map(Int64.init))
        if greedy > 0 {
            let tokens = try continuation(
                model,
                state,
                Array(logits.suffix(model.vocabularySize)),
                greedy,
                seen
            )
            writer.add("greedy_tokens", .int64, shape: [tokens.count], tokens.map(Int64.init))
        }
        try writer.data().write(to: URL(fileURLWithPath: output))
    }

    private static func continuation(
        _ model: any CausalLanguageModel,
        _ state: any SequenceState,
        _ last: [Float],
        _ count: Int,
        _ seen: MediaPrompt?
    ) throws -> [Int32] {
        var tokens: [Int32] = []
        var row = last
        while true {
            let best = row.indices.max { row[$0] < row[$1] || (row[$0] == row[$1] && $0 > $1) } ?? 0
            tokens.append(Int32(clamping: best))
            guard tokens.count < count else { return tokens }
            row = try Torch.checked {
                let place = state.length
                var step = Step(
                    tokens: [tokens[tokens.count - 1]],
                    runs: [.init(state: state, count: 1)],
                    outputRows: [0]
                )
                if let seen { step.positions = seen.positions(place..<place + 1) }
                return model(step).floats
            }
        }
    }

    /// The tower's work over a prompt's media, written down.
    private static func see(
        _ sources: [MediaPrompt.Source],
        _ count: Int,
        _ model: any VisionLanguageModel,
        _ checkpoint: Checkpoint,
        _ rule: RotaryIndex.TimeRule,
        _ writer: inout SafetensorsWriter
    ) throws -> (MediaPrompt, [VisionFeatures]) {
        guard let processor = try VisionProcessor(of: checkpoint.configuration) else {
            throw ModelError.config(key: "vision_config", found: "absent", expected: "an object")
        }
        let prompt = try MediaPrompt(
            sources,
            count: count,
            model: model,
            processor: processor,
            rule: rule
        )
        let axes = prompt.index.axes
        writer.add("position_ids", .int64, shape: [3, count], axes.flatMap { $0.map(Int64.init) })
        let pass = model.makePass(prompt.media.map(\.input))
        while try !Torch.checked({ pass.advance() }) {}
        let features = try Torch.checked { pass.features }
        for (kind, name) in [(PromptMedia.Kind.image, "image"), (.video, "video")] {
            let places = sources.indices.filter { sources[$0].kind == kind }
            guard !places.isEmpty else { continue }
            let inputs = places.map { prompt.media[$0].input }
            let pixels = try Torch.checked {
                inputs.flatMap { input in
                    (0..<input.grid.time).flatMap { input.patches($0).floats }
                }
            }
            let rows = inputs.reduce(0) { $0 + $1.grid.patches }
            writer.add(
                kind == .image ? "pixel_values" : "pixel_values_videos",
                .float32,
                shape: [rows, pixels.count / max(1, rows)],
                pixels
            )
            writer.add(
                "\(name)_grid_thw",
                .int64,
                shape: [places.count, 3],
                inputs.flatMap { [$0.grid.time, $0.grid.height, $0.grid.width].map(Int64.init) }
            )
            func add(_ name: String, _ parts: [Tensor]) {
                let values = parts.flatMap(\.floats)
                let tokens = parts.reduce(0) { $0 + ($1.shape.first ?? 0) }
                writer.add(name, .float32, shape: [tokens, values.count / max(1, tokens)], values)
            }
            let found = places.map { features[$0] }
            try Torch.checked {
                add("\(name)_features", found.map(\.rows))
                for level in 0..<(found.first?.deep.count ?? 0) {
                    add("\(name)_deepstack_\(level)", found.map { $0.deep[level] })
                }
            }
        }
        return (prompt, features)
    }
}
