import Checkpoints
import Foundation
import Testing
import Torch
import Weights

/// Codes of 8 bits, and columns in any order, beside the same weights decoded.
@Suite struct KeptCodesTests {
    /// A folder with made-up weights and a config; it goes away with the test.
    final class Folder {
        private let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        private var writer = SafetensorsWriter()
        private var noise: UInt64 = 0x2545_F491_4F6C_DD1D

        deinit { try? FileManager.default.removeItem(at: url) }

        func drawn(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in
                noise = noise &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: noise >> 40)
            }
        }

        func scales(_ count: Int) -> [Float] { drawn(count).map { (Float($0) + 1) / 4096 } }

        func int8(_ name: String, _ rows: Int, _ columns: Int, scale: Float? = nil) {
            writer.add("\(name).weight", .int8, shape: [rows, columns], drawn(rows * columns))
            var all = scales(rows)
            if let scale { all[rows / 2] = scale }
            writer.add("\(name).SCB", .float32, shape: [rows], all)
        }

        func float8(_ name: String, _ shape: [Int], tiles: [Int], code: UInt8 = 1) {
            var codes = drawn(shape[0] * shape[1]).map { $0 & 127 == 127 ? 0x81 : $0 }
            codes[shape[1] + 1] = code
            writer.add("\(name).weight", .float8e4m3, shape: shape, codes)
            let count = tiles.reduce(1, *)
            writer.add("\(name).weight_scale_inv", .float32, shape: tiles, scales(count))
        }

        func gptq(
            _ name: String,
            _ rows: Int,
            groups: [Int32],
            size: Int,
            bits: Int = 4,
            columns: Int? = nil,
            scale: Float16? = nil
        ) {
            let all = columns ?? groups.count
            let count = (all + size - 1) / size
            let words = [all * bits / 32, rows]
            writer.add("\(name).qweight", .int32, shape: words, drawn(all * rows * bits / 8))
            let zeros = [count, rows * bits / 32]
            // With zero points at both ends of their bits.
            let codes = [0, 255] + drawn(count * rows * bits / 8 - 2)
            writer.add("\(name).qzeros", .int32, shape: zeros, codes)
            var scales = drawn(count * rows).map { (Float16($0) + 1) / 4096 }
            if let scale { scales[1] = scale }
            writer.add("\(name).scales", .float16, shape: [count, rows], scales)
            writer.add("\(name).g_idx", .int32, shape: [groups.count], groups)
        }

        func open(_ quantisation: String) throws -> Checkpoint {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            try writer.data().write(to: url.appending(path: "model.safetensors"))
            try Data(#"{"quantization_config": \#(quantisation)}"#.utf8)
                .write(to: url.appending(path: "config.json"))
            return try Checkpoint(opening: url.path)
        }
    }

    struct IsDense: Error {}

    /// The values, kept and dense; the plan counts what is kept.
    static func values(_ checkpoint: Checkpoint, _ names: [String], _ rows: [Int], _ columns: Int)
        throws -> (kept: [Float], dense: [Float], weight: PackedWeight)
    {
        let names = names.map { "\($0).weight" }
        let exact = WeightReader(checkpoint, dtype: .float32)
        let dense = try exact.stacked(names, rows: rows, columns: columns).floats
        let reader = WeightReader(checkpoint, dtype: .bfloat16, form: .stored)
        guard case .packed(let weight) = try reader.matrix(names, rows: rows, columns: columns)
        else { throw IsDense() }
        let plan = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .stored)
        #expect(plan.weightBytes == weight.byteCount)
        let ids = (0..<Int32(rows.reduce(0, +))).map { $0 }
        return (try Torch.checked { weight.rows(ids, as: .float32).floats }, dense, weight)
    }

    /// Products whose inputs are -1, 0 and 1: their rounding to 8 bits changes nothing.
    static func multiplies(_ weight: PackedWeight, as dense: [Float]) throws -> Bool {
        let (rows, columns) = (weight.shape[0], weight.shape[1])
        let x = Tensor((0..<7 * columns).map { Float($0 * 7 % 3) - 1 }, shape: [7, columns])
        let expected = x.linear(Tensor(dense, shape: [rows, columns])).floats
        let largest = expected.map(abs).max() ?? 0
        return try [0, 1, 2, 3].allSatisfy { level in
            Torch.limitInstructionSet(to: level)
            defer { Torch.limitInstructionSet(to: 3) }
            return try Torch.checked {
                // Inputs in bfloat16 are these very numbers, and take other kernels.
                [Tensor.DType.float32, .bfloat16].allSatisfy { dtype in
                    let found = x.to(dtype).linear(weight, as: .float32).floats
                    return zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-5 * largest }
                }
            }
        }
    }

    @Test func `int8 by row has the bits of bitsandbytes' own formula`() throws {
        let folder = Folder()
        folder.int8("a.q_proj", 37, 96)
        folder.int8("a.k_proj", 8, 96)
        let checkpoint = try folder.open(#"{"load_in_8bit": true}"#)
        let found = try Self.values(checkpoint, ["a.q_proj", "a.k_proj"], [37, 8], 96)
        #expect(found.kept.map(\.bitPattern) == found.dense.map(\.bitPattern))
        #expect(try Self.multiplies(found.weight, as: found.dense))
    }

    @Test(arguments: [
        ([40, 96], [3, 2], "[16, 64]"),  // partial at both edges
        ([48, 160], [1, 5], "[48, 32]"),
        ([40, 96], [40, 1], "[1, 96]"),  // a scale a row
        ([40, 96], [1, 1], "null"),  // one for all
        ([40, 96], [], "null"),
        ([256, 256], [2, 2], "[128, 128]"),
    ])
    func `8-bit floats have their bits, whatever shares a scale`(
        _ shape: [Int],
        _ tiles: [Int],
        _ size: String
    ) throws {
        let folder = Folder()
        folder.float8("a.o_proj", shape, tiles: tiles)
        let checkpoint = try folder.open(
            #"{"quant_method": "fp8", "weight_block_size": \#(size)}"#
        )
        let found = try Self.values(checkpoint, ["a.o_proj"], [shape[0]], shape[1])
        #expect(found.kept.map(\.bitPattern) == found.dense.map(\.bitPattern))
        #expect(try Self.multiplies(found.weight, as: found.dense))
    }

    @Test func `each 8-bit float multiplies as its value, subnormal ones too`() throws {
        let folder = Folder()
        folder.float8("a", [32, 32], tiles: [1, 1])
        let checkpoint = try folder.open(#"{"quant_method": "fp8"}"#)
        let found = try Self.values(checkpoint, ["a"], [32], 32)
        // A single 1 a row: the products are the columns.
        let unit = (0..<1024).map { Float($0 / 32 == $0 % 32 ? 1 : 0) }
        for level in [0, 1, 2, 3] {
            Torch.limitInstructionSet(to: level)
            defer { Torch.limitInstructionSet(to: 3) }
            for dtype in [Tensor.DType.float32, .bfloat16] {
                let x = Tensor(unit, shape: [32, 32]).to(dtype)
                let products = try Torch.checked { x.linear(found.weight, as: .float32).floats }
                let turned = (0..<1024).map { found.dense[$0 % 32 * 32 + $0 / 32] }
                #expect(products == turned)
            }
        }
    }

    @Test(arguments: [4, 8], [1, 2])
    func `GPTQ's columns may be of any group, and layers of one product of other orders`(
        _ bits: Int,
        _ version: Int
    ) throws {
        let folder = Folder()
        let plain = (0..<256).map { Int32($0 / 64) }
        let shuffled = (0..<256).map { Int32($0 * 37 % 256 / 64) }
        // Groups of 70, 40, 96 and 50, none of whole blocks.
        let uneven = (0..<256).map { place -> Int32 in
            switch place * 91 % 256 {
            case ..<70: 2
            case ..<110: 0
            case ..<206: 3
            default: 1
            }
        }
        let orders = [shuffled, uneven, version == 1 ? plain : shuffled]
        let names = ["q_proj", "k_proj", "v_proj"].map { "a.\($0)" }
        for (name, groups) in zip(names, orders) {
            folder.gptq(name, 24, groups: groups, size: 64, bits: bits)
        }
        let format = version == 2 ? #", "checkpoint_format": "gptq_v2""# : ""
        let checkpoint = try folder.open(
            #"{"quant_method": "gptq", "bits": \#(bits), "group_size": 64\#(format)}"#
        )
        let found = try Self.values(checkpoint, names, [24, 24, 24], 256)
        // The reference rounds values to half precision; kept ones are whole.
        #expect(found.kept.map { Float(Float16($0)) } == found.dense)
        #expect(try Self.multiplies(found.weight, as: found.kept))
    }

    @Test(arguments: [0, 1, 2, 3])
    func `a row has the same bits alone and among any number of rows`(_ level: Int) throws {
        let folder = Folder()
        folder.float8("a", [40, 160], tiles: [3, 3])
        folder.int8("b", 40, 160)
        folder.gptq("c", 40, groups: (0..<160).map { Int32($0 * 37 % 160 / 64) }, size: 64, bits: 8)
        let fp8 = try folder.open(#"{"quant_method": "fp8", "weight_block_size": [16, 64]}"#)
        let gptq = try folder.open(#"{"quant_method": "gptq", "bits": 8, "group_size": 64}"#)
        Torch.limitInstructionSet(to: level)
        defer { Torch.limitInstructionSet(to: 3) }
        for (name, checkpoint) in [("a", fp8), ("b", fp8), ("c", gptq)] {
            let reader = WeightReader(checkpoint, dtype: .bfloat16, form: .stored)
            let matrix = try reader.matrix(["\(name).weight"], rows: [40], columns: 160)
            guard case .packed(let weight) = matrix else { throw IsDense() }
            for dtype in [Tensor.DType.float32, .bfloat16] {
                let x = Tensor(PackedWeightTests.inputs(70, 160), shape: [70, 160]).to(dtype)
                try Torch.checked {
                    let alone = (0..<70).flatMap {
                        x.takingRows([$0]).linear(weight, as: dtype).floats
                    }
                    for together in [2, 3, 4, 5, 7, 8, 9, 16, 65, 70] {
                        let found = x.rows(0..<together).linear(weight, as: dtype).floats
                        #expect(found == Array(alone.prefix(together * 40)), "\(name) \(together)")
                    }
                }
            }
        }
    }

    @Test func `groups of few columns would be filled up too much: dense`() throws {
        let folder = Folder()
        let groups = (0..<64).map { Int32($0 * 5 % 64 / 8) }
        folder.gptq("a.o_proj", 8, groups: groups, size: 8)
        let checkpoint = try folder.open(
            #"{"quant_method": "gptq", "bits": 4, "group_size": 8}"#
        )
        let reader = WeightReader(checkpoint, dtype: .bfloat16, form: .stored)
        let matrix = try reader.matrix(["a.o_proj.weight"], rows: [8], columns: 64)
        guard case .dense = matrix else {
            Issue.record("packed")
            return
        }
        let plan = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .stored)
        #expect(plan.weightBytes == 8 * 64 * 2)
    }

    @Test func `a checkpoint that is wrong is refused by name`() throws {
        let folder = Folder()
        let groups = (0..<64).map { Int32($0 % 2) }
        folder.int8("int8-scale", 16, 32, scale: .nan)
        folder.float8("float8-nan", [16, 32], tiles: [1, 1], code: 0xFF)
        folder.float8("float8-tiles", [16, 32], tiles: [2, 1])
        folder.gptq("group", 16, groups: groups.map { $0 == 1 ? 2 : 0 }, size: 32)
        folder.gptq("below", 16, groups: groups.map { $0 == 1 ? -1 : 0 }, size: 32)
        folder.gptq("short", 16, groups: Array(groups.dropLast()), size: 32, columns: 64)
        folder.gptq("scale", 16, groups: groups, size: 32, scale: .infinity)
        let wrong = [
            ("int8-scale", 32, "not a finite number"), ("float8-nan", 32, "not a number"),
            ("float8-tiles", 32, "expected the shape [1, 1], found [2, 1]"),
            ("group", 64, "is of group 2"), ("below", 64, "is of group -1"),
            ("short", 64, "one int32 a column"), ("scale", 64, "not a finite number"),
        ]
        let fp8 = #"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#
        let gptq = #"{"quant_method": "gptq", "bits": 4, "group_size": 32}"#
        for (name, columns, words) in wrong {
            let checkpoint = try folder.open(columns == 32 ? fp8 : gptq)
            let reader = WeightReader(checkpoint, dtype: .bfloat16, form: .stored)
            #expect("\(name)") {
                _ = try reader.matrix(["\(name).weight"], rows: [16], columns: columns)
            } throws: {
                "\($0)".contains(words) && "\($0)".contains(name)
            }
        }
    }
}
