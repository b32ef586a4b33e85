import Checkpoints
import Foundation
import Testing
import Torch
import Weights

/// Quantised checkpoints beside what their formats' own libraries make of them.
@Suite struct StoredWeightTests {
    /// Name in the fixture, shape, `quantization_config`.
    static let weights: [(name: String, shape: [Int], config: String)] = [
        ("nf4-nested", [48, 128], #"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#),
        ("nf4", [32, 192], #"{"load_in_4bit": true}"#),
        ("nf4-straddling", [6, 40], #"{"quant_method": "bitsandbytes"}"#),
        ("fp4", [20, 64], #"{"quant_method": "bitsandbytes"}"#),
        ("fp4-nested", [24, 64], #"{"quant_method": "bitsandbytes"}"#),
        ("int8", [20, 33], #"{"quant_method": "bitsandbytes", "load_in_8bit": true}"#),
        ("fp8-whole", [64, 96], #"{"quant_method": "fp8", "weight_block_size": [32, 32]}"#),
        ("fp8-partial", [40, 72], #"{"quant_method": "fp8", "weight_block_size": [32, 32]}"#),
        (
            "awq", [24, 64],
            #"{"quant_method": "awq", "w_bit": 4, "q_group_size": 32, "version": "GEMM"}"#
        ),
        ("gptq", [24, 64], #"{"quant_method": "gptq", "bits": 4, "group_size": 32}"#),
        (
            "gptq-order", [24, 64],
            #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true}"#
        ),
        ("gptq-8", [24, 64], #"{"quant_method": "gptq", "bits": 8, "group_size": 32}"#),
        (
            "gptq-v2", [24, 64],
            #"{"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"}"#
        ),
    ]

    /// A folder with the fixture and a config; it goes away with the test.
    final class Folder {
        let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)

        init(_ config: String) throws {
            let fixture = URL(filePath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent()
                .appending(path: "Fixtures/weights/quantised.safetensors")
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                at: fixture,
                to: url.appending(path: "model.safetensors")
            )
            try Data(#"{"quantization_config": \#(config)}"#.utf8)
                .write(to: url.appending(path: "config.json"))
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func reader(_ dtype: Tensor.DType = .float32, _ form: WeightForm = .dense) throws
            -> WeightReader
        {
            WeightReader(try Checkpoint(opening: url.path), dtype: dtype, form: form)
        }
    }

    @Test(arguments: 0..<13) func `weights decode to the bits of the reference`(_ index: Int) throws
    {
        let (name, shape, config) = Self.weights[index]
        let folder = try Folder(config)
        let reader = try folder.reader()
        #expect(reader.has("\(name).weight"))
        let expected = try reader.tensor("\(name).values", shape).floats
        let found = try reader.tensor("\(name).weight", shape).floats
        #expect(found.map(\.bitPattern) == expected.map(\.bitPattern))
        // … and within a stack, rounded to the compute type.
        let narrow = try folder.reader(.bfloat16).stacked(
            ["\(name).weight", "\(name).values"],
            rows: [shape[0], shape[0]],
            columns: shape[1]
        )
        let rounded = Tensor(expected, shape: shape).to(.bfloat16).floats
        #expect(narrow.floats == rounded + rounded)
    }

    @Test(arguments: 0..<13)
    func `what can stay packed stays so, and multiplies as its values do`(_ index: Int) throws {
        let (name, shape, config) = Self.weights[index]
        let folder = try Folder(config)
        let reader = try folder.reader(.float32, .stored)
        let expected = try reader.tensor("\(name).values", shape)
        let matrix = try reader.matrix(
            ["\(name).weight", "\(name).weight"],
            rows: [shape[0], shape[0]],
            columns: shape[1]
        )
        let stays = [
            "nf4-nested", "nf4", "fp4", "fp4-nested", "fp8-whole", "awq", "gptq", "gptq-order",
            "gptq-8", "gptq-v2",
        ]
        guard case .packed(let packed) = matrix else {
            #expect(!stays.contains(name))
            return
        }
        #expect(stays.contains(name))
        let ids = (0..<Int32(2 * shape[0])).map { $0 }
        let values = packed.rows(ids, as: .float32).floats
        // The references round products to 16 bits; packed weights do not.
        let near = zip(values, expected.floats + expected.floats).allSatisfy {
            abs($0 - $1) <= abs($1) / 250
        }
        #expect(near)
        let x = Tensor(PackedWeightTests.inputs(9, shape[1]), shape: [9, shape[1]])
        for level in [0, 1, 2, 3] {
            Torch.limitInstructionSet(to: level)
            defer { Torch.limitInstructionSet(to: 3) }
            let found = try Torch.checked { x.linear(packed, as: .float32).floats }
            let exact = x.linear(Tensor(values, shape: [2 * shape[0], shape[1]])).floats
            let size = exact.reduce(0) { $0 + $1 * $1 }
            let error = zip(found, exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            // Tables multiply in single precision, codes with inputs of 8 bits.
            let limit: Float = name.hasPrefix("gptq") || name == "awq" ? 0.02 : 1e-6
            #expect((error / size).squareRoot() < limit, "level \(level)")
            let alone = x.takingRows([4]).linear(packed, as: .float32).floats
            #expect(alone == Array(found[4 * 2 * shape[0]..<5 * 2 * shape[0]]))
        }
    }

    @Test(arguments: Quantisation.allCases)
    func `floats are quantised while they are read, as well as their bits allow`(
        _ quantisation: Quantisation
    ) throws {
        let folder = try Folder(#"{"quant_method": "bitsandbytes"}"#)
        let reader = try folder.reader(.float32, .quantised(quantisation))
        let exact = try reader.tensor("nf4.values", [32, 192]).floats
        let name = "nf4.values"
        func values(_ role: MatrixRole) throws -> ([Float], Int) {
            let matrix = try reader.matrix([name], rows: [32], columns: 192, role: role)
            guard case .packed(let packed) = matrix else {
                Issue.record("dense")
                return ([], 0)
            }
            return (packed.rows((0..<32).map { $0 }, as: .float32).floats, packed.byteCount)
        }
        let (found, bytes) = try values(.layer)
        let square = exact.reduce(0) { $0 + $1 * $1 }
        let error = zip(found, exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let relative = (error / square).squareRoot()
        switch quantisation {
        // The values are nf4's own already: nothing is lost but the last bit of a product.
        case .nf4: #expect(relative < 1e-6 && bytes == 32 * 192 * 9 / 16)
        case .int4: #expect(relative < 0.12 && relative > 0.01 && bytes == 32 * 192 * 5 / 8)
        case .int8: #expect(relative < 0.008 && bytes == 32 * 192 * 17 / 16)
        }
        let (table, tableBytes) = try values(.table)
        let tableError = zip(table, exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        #expect((tableError / square).squareRoot() < 0.008 && tableBytes == 32 * 192 * 17 / 16)
    }

    @Test func `what is not supported or does not fit is told by name`() throws {
        let refused = [
            (#"{"quant_method": "compressed-tensors"}"#, "compressed-tensors"),
            (#"{"bits": 4}"#, "quant_method is absent"),
            (#"{"quant_method": "awq", "version": "gemv"}"#, "version is gemv"),
            (#"{"quant_method": "awq", "bits": 3}"#, "bits is 3"),
            (#"{"quant_method": "gptq", "bits": 3}"#, "bits is 3"),
            (#"{"quant_method": "gptq", "checkpoint_format": "marlin"}"#, "marlin"),
            (#"{"quant_method": "gptq", "group_size": 0}"#, "group_size is 0"),
            (#"{"quant_method": "fp8", "weight_block_size": [128]}"#, "weight_block_size"),
            (#"{"quant_method": "fp8", "weight_block_size": [128, "x", 128]}"#, "no pair"),
            // Of another kind than numbers and words, which is not absent.
            (#"{"quant_method": 5}"#, "quant_method is 5"),
            (#"{"quant_method": "awq", "bits": "8"}"#, #"bits is "8""#),
            (#"{"quant_method": "awq", "version": 3}"#, "version is 3"),
            (#"{"quant_method": "gptq", "bits": 4.5}"#, "bits is 4.5"),
            (#"{"quant_method": "gptq", "group_size": true}"#, "group_size is true"),
            (#"{"quant_method": "gptq", "checkpoint_format": 2}"#, "checkpoint_format is 2"),
        ]
        for (config, part) in refused {
            let folder = try Folder(config)
            #expect {
                try StoredQuantisation(Checkpoint(opening: folder.url.path).config)
            } throws: {
                "\($0)".contains(part) && "\($0)".contains("supported")
            }
        }
        let folder = try Folder(#"{"quant_method": "gptq", "bits": 4, "group_size": 64}"#)
        let reader = try folder.reader()
        for (name, shape) in [
            ("gptq", [24, 64]), ("gptq", [24, 72]), ("gptq", [16, 64]), ("nf4", [192, 32]),
            ("nf4", [32, 128]), ("fp8-whole", [64, 96]), ("int8", [20, 32]),
        ] {
            #expect(throws: WeightError.self, "\(name) \(shape)") {
                try reader.tensor("\(name).weight", shape)
            }
        }
    }
}
