import Checkpoints
import Foundation
import JSON
import Models
import NN
import Pixels
import Testing
import Torch
import Vision

/// A tiny model that sees, and what transformers computed with it for some prompts.
struct MediaGolden {
    /// One image or clip of a prompt, its frames of their final size.
    struct Medium {
        let isClip: Bool
        let frames, width, height: Int
        let grid: PatchGrid
        let spans: [Range<Int>]
        let seconds: Double?
        let bytes: [UInt8]

        var span: MediaSpan { MediaSpan(spans: spans, grid: grid, secondsPerGrid: seconds) }
    }

    /// One prompt.
    struct Case {
        let name: String
        let ids: [Int32]
        let media: [Medium]
        let positions: [[Int32]]
        /// As Qwen2.5-VL's authors published them; nil where transformers computes no others.
        let original: [[Int32]]?
        let delta: Int32
        let greedy: [Int32]
    }

    let model: any VisionLanguageModel
    let cases: [Case]
    private let processor: VisionProcessor
    private let header: JSONValue
    private let data: Data

    static let names = ["vl-qwen2_5", "vl-qwen2_5-old", "vl-qwen3", "vl-qwen3-untied"]

    init(_ name: String, dtype: Tensor.DType = .float32, form: WeightForm = .dense) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent()
            .appending(path: "Fixtures/models/\(name)")
        let checkpoint = try Checkpoint(opening: folder.path)
        let loaded = try ModelRegistry.load(checkpoint, dtype: dtype, form: form)
        model = try #require(loaded as? any VisionLanguageModel)
        processor = try #require(try VisionProcessor(of: checkpoint.configuration))
        let file = try Data(contentsOf: folder.appending(path: "golden.safetensors"))
        let size = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONValue.parse([UInt8](file[8..<8 + size]))
        self.header = header
        let data = Data(file[(8 + size)...])
        self.data = data
        let text = try Data(contentsOf: folder.appending(path: "cases.json"))
        let list = try #require(try JSONValue.parse([UInt8](text)).array)
        cases = try list.map { entry in
            func ints(_ value: JSONValue?) throws -> [Int] {
                let numbers = value?.array?.compactMap(\.int)
                return try #require(numbers)
            }
            func axes(_ value: JSONValue) throws -> [[Int32]] {
                let axes = try #require(value.array)
                return try axes.map { try ints($0).map { Int32($0) } }
            }
            let name = try #require(entry["name"]?.string)
            let positions = try #require(entry["positions"])
            let written = try #require(entry["media"]?.array)
            let media = try written.enumerated().map { index, medium in
                let spans = try #require(medium["spans"]?.array)
                let grid = try ints(medium["grid"])
                let place = try ints(header["\(name).frames.\(index)"]?["data_offsets"])
                return Medium(
                    isClip: medium["kind"]?.string == "video",
                    frames: try #require(medium["frames"]?.int),
                    width: try #require(medium["width"]?.int),
                    height: try #require(medium["height"]?.int),
                    grid: PatchGrid(time: grid[0], height: grid[1], width: grid[2]),
                    spans: try spans.map {
                        let ends = try ints($0)
                        return ends[0]..<ends[1]
                    },
                    seconds: medium["seconds"]?.double,
                    bytes: [UInt8](data[place[0]..<place[1]])
                )
            }
            return Case(
                name: name,
                ids: try ints(entry["ids"]).map { Int32($0) },
                media: media,
                positions: try axes(positions),
                original: try entry["original"].map(axes),
                delta: Int32(try #require(entry["delta"]?.int)),
                greedy: try ints(entry["greedy"]).map { Int32($0) }
            )
        }
    }

    /// A float32 tensor of the golden file, `clip.features.0` and the like; nil where there is none.
    func golden(_ name: String) -> [Float]? {
        guard let ends = header[name]?["data_offsets"]?.array?.compactMap(\.int) else { return nil }
        return data[ends[0]..<ends[1]].withUnsafeBytes { raw in
            (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
    }

    /// The rows that the tower reads of a medium.
    func patches(_ medium: Medium) -> PixelPatches {
        PixelPatches(
            frames: medium.frames,
            width: medium.width,
            height: medium.height,
            layout: model.patchLayout,
            normalization: medium.isClip
                ? processor.videoNormalization : processor.imageNormalization,
            read: { body in medium.bytes.withUnsafeBytes(body) }
        )
    }

    /// What the tower makes of media, all in one pass.
    func features(_ media: [Medium]) throws -> [VisionFeatures] {
        try Torch.checked {
            let inputs = media.map { medium in
                let patches = patches(medium)
                return VisionInput(grid: patches.grid) { patches($0) }
            }
            let pass = model.makePass(inputs)
            if !media.isEmpty { while !pass.advance() {} }
            return pass.features
        }
    }

    /// A prompt's positions.
    func index(_ prompt: Case, _ rule: RotaryIndex.TimeRule = .hf517) throws -> RotaryIndex {
        try RotaryIndex(
            count: prompt.ids.count,
            media: prompt.media.map(\.span),
            merge: model.patchLayout.merge,
            tokensPerSecond: model.tokensPerSecond,
            rule: rule
        )
    }

    /// Some rows of a prompt as a step.
    func step(
        _ prompt: Case,
        _ rows: Range<Int>,
        _ features: [VisionFeatures],
        _ state: any SequenceState
    ) throws -> Step {
        let index = try index(prompt)
        var step = Step(
            input: .tokens(Array(prompt.ids[rows])),
            positions: index.axes.map { Array($0[rows]) },
            runs: [.init(state: state, count: rows.count)],
            outputRows: Array(0..<rows.count)
        )
        for (medium, features) in zip(prompt.media, features) {
            var done = 0
            for span in medium.spans {
                let part = span.clamped(to: rows)
                if !part.isEmpty {
                    let first = done + part.lowerBound - span.lowerBound
                    step.replacements.append(
                        .init(
                            row: part.lowerBound - rows.lowerBound,
                            features: features,
                            range: first..<first + part.count
                        )
                    )
                }
                done += span.count
            }
        }
        return step
    }
}
