import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch
import Weights

/// Whole models whose weights are quantised: by their checkpoint, or while they are read.
@Suite struct QuantisedModelTests {
    static let fixture = "\(GGUFModelTests.fixtures)/llama-tied"

    /// The fixture with its layers as GPTQ writes them, and its twin with the values that this stands for.
    final class Pair {
        let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)

        init() throws {
            let checkpoint = try Checkpoint(opening: QuantisedModelTests.fixture)
            var (coded, plain) = (SafetensorsWriter(), SafetensorsWriter())
            let reader = WeightReader(checkpoint, dtype: .float32)
            for (name, entry) in checkpoint.tensors {
                let values = try reader.tensor(name, entry.shape, as: .float32).floats
                guard name.contains("_proj.weight") else {
                    coded.add(name, .float32, shape: entry.shape, values)
                    plain.add(name, .float32, shape: entry.shape, values)
                    continue
                }
                let (rows, columns) = (entry.shape[0], entry.shape[1])
                var codes = [UInt32](repeating: 0, count: rows * columns / 8)
                var exact = values
                for row in 0..<rows {
                    for column in 0..<columns {
                        // Zero point 8 and scale 1/64: exact in half precision.
                        let code = min(
                            max((values[row * columns + column] * 64).rounded() + 8, 0),
                            15
                        )
                        codes[column / 8 * rows + row] |= UInt32(code) << (4 * UInt32(column % 8))
                        exact[row * columns + column] = (code - 8) / 64
                    }
                }
                let base = String(name.dropLast(7))
                let groups = (columns + 31) / 32
                coded.add("\(base).qweight", .int32, shape: [columns / 8, rows], codes)
                coded.add(
                    "\(base).qzeros",
                    .int32,
                    shape: [groups, rows / 8],
                    [UInt32](repeating: 0x7777_7777, count: groups * rows / 8)
                )
                coded.add(
                    "\(base).scales",
                    .float16,
                    shape: [groups, rows],
                    [UInt16](repeating: 0x2400, count: groups * rows)
                )
                plain.add(name, .float32, shape: entry.shape, exact)
            }
            var config = checkpoint.config.object
            config?["quantization_config"] = [
                "quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": .bool(false),
            ]
            let members = try #require(config)
            for (part, writer) in [("coded", coded), ("plain", plain)] {
                let folder = url.appending(path: part)
                try FileManager.default.createDirectory(
                    at: folder,
                    withIntermediateDirectories: true
                )
                try writer.data().write(to: folder.appending(path: "model.safetensors"))
                let text =
                    part == "coded" ? JSONValue.object(members).bytes() : checkpoint.config.bytes()
                try Data(text).write(to: folder.appending(path: "config.json"))
            }
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func model(_ part: String, _ form: WeightForm) throws -> any CausalLanguageModel {
            let checkpoint = try Checkpoint(opening: url.appending(path: part).path)
            return try ModelRegistry.load(checkpoint, dtype: .float32, form: form)
        }
    }

    static func logits(_ model: any CausalLanguageModel, chunks: [Int] = [30]) throws -> [Float] {
        let ids = (0..<30).map { Int32($0 * 7 % model.vocabularySize) }
        let state = model.makeState(capacity: 30)
        var at = 0
        return try chunks.flatMap { count in
            defer { at += count }
            return try Torch.checked {
                model(
                    Step(
                        tokens: Array(ids[at..<at + count]),
                        runs: [.init(state: state, count: count)],
                        outputRows: Array(0..<count)
                    )
                ).floats
            }
        }
    }

    /// The root of the squared differences, by that of the squares.
    static func distance(_ a: [Float], _ b: [Float]) -> Float {
        let error = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        return (error / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
    }

    @Test func `a GPTQ checkpoint gives the bits of a folder with its values`() throws {
        let pair = try Pair()
        let exact = try Self.logits(pair.model("plain", .dense))
        #expect(try Self.logits(pair.model("coded", .dense)) == exact)
        let packed = try Self.logits(pair.model("coded", .stored))
        let far = Self.distance(packed, exact)
        #expect(far > 0 && far < 0.03)
    }

    @Test(arguments: Quantisation.allCases)
    func `a model quantised while it is read stays near, and its rows depend on nothing`(
        _ quantisation: Quantisation
    ) throws {
        let checkpoint = try Checkpoint(opening: Self.fixture)
        let exact = try Self.logits(ModelRegistry.load(checkpoint, dtype: .float32))
        let form = WeightForm(dtype: "auto", quantize: quantisation.rawValue)
        let model = try ModelRegistry.load(checkpoint, dtype: .float32, form: #require(form))
        let found = try Self.logits(model)
        let far = Self.distance(found, exact)
        #expect(far > 1e-4 && far < (quantisation == .int8 ? 0.05 : 0.4), "\(far)")
        #expect(try Self.logits(model, chunks: [1, 4, 17, 1, 7]) == found)
        #expect(WeightForm(dtype: "auto", quantize: "int3") == nil)
    }
}
