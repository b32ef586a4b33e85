import Checkpoints
import Foundation
import Testing
import Torch
import Weights

/// Quantised weights whose tensors contradict each other: none is read as something else.
@Suite struct RefusedWeightTests {
    /// Tensors by name: format, shape and bytes.
    typealias Tensors = [String: (format: TensorFormat, shape: [Int], bytes: [UInt8])]

    /// What reading the weight `w` says; nil where it succeeds.
    private func fault(
        _ config: String,
        _ shape: [Int],
        _ tensors: Tensors,
        _ form: WeightForm = .dense
    ) throws -> String? {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var writer = SafetensorsWriter()
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            writer.add(name, tensor.format, shape: tensor.shape, tensor.bytes)
        }
        try writer.data().write(to: folder.appending(path: "model.safetensors"))
        try Data(#"{"quantization_config": \#(config)}"#.utf8)
            .write(to: folder.appending(path: "config.json"))
        let reader = WeightReader(
            try Checkpoint(opening: folder.path),
            dtype: .float32,
            form: form
        )
        do {
            _ = try reader.matrix(["w.weight"], rows: [shape[0]], columns: shape[1])
            return nil
        } catch let error as WeightError { return "\(error)" }
    }

    private func bytes<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

    /// 8 rows of 64 columns in groups of 32.
    private var words: Tensors {
        [
            "w.qweight": (.int32, [8, 8], [UInt8](repeating: 0x35, count: 256)),
            "w.qzeros": (.int32, [2, 1], [UInt8](repeating: 0x77, count: 8)),
            "w.scales": (.float16, [2, 8], bytes([Float16](repeating: 0.5, count: 16))),
        ]
    }

    @Test func `GPTQ's tensors are of their types, finite, and say which column is whose`() throws {
        func config(_ isReordered: Bool) -> String {
            #"{"quant_method": "gptq", "group_size": 32, "desc_act": \#(isReordered)}"#
        }
        func fault(_ isReordered: Bool = false, _ change: (inout Tensors) -> Void) throws -> String?
        {
            var tensors = words
            change(&tensors)
            return try self.fault(config(isReordered), [8, 64], tensors)
        }
        #expect(try fault { _ in } == nil)
        #expect(try fault { $0["w.qweight"]?.format = .float32 }?.contains("w.qweight") == true)
        for scale in [Float16.nan, .infinity] {
            let error = try fault {
                $0["w.scales"]?.bytes.replaceSubrange(6..<8, with: bytes([scale]))
            }
            #expect(error?.contains("w.qweight") == true && error?.contains("finite") == true)
        }
        #expect(try fault(true) { _ in }?.contains("desc_act") == true)
        let order = (0..<64).map { Int32($0 % 2) }
        #expect(try fault(true) { $0["w.g_idx"] = (.int32, [64], bytes(order)) } == nil)
        let both = try fault {
            $0["w.weight"] = (.float16, [8, 64], bytes([Float16](repeating: 1, count: 512)))
        }
        #expect(both?.contains("w.qweight") == true && both?.contains("F16") == true)
    }

    @Test func `scales beside floats, and rows in another order, are refused`() throws {
        let scales: Tensors.Value = (.float32, [1, 1], bytes([Float(2)]))
        let tile = #"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#
        let floats: Tensors = [
            "w.weight": (.float16, [2, 2], bytes([Float16](repeating: 1, count: 4))),
            "w.weight_scale_inv": scales,
        ]
        #expect(try fault(tile, [2, 2], floats)?.contains("w.weight_scale_inv") == true)
        for order in [0, 1, 2, 3] as [UInt8] {
            let rows: Tensors = [
                "w.weight": (.int8, [2, 2], [1, 2, 3, 4]),
                "w.SCB": (.float32, [2], bytes([Float(1), 2])),
                "w.weight_format": (.uint8, [], [order]),
            ]
            let error = try fault(#"{"load_in_8bit": true}"#, [2, 2], rows)
            #expect(order == 0 ? error == nil : error?.contains("w.weight_format") == true)
        }
    }

    @Test(arguments: Quantisation.allCases) func `only numbers are quantised`(
        _ quantisation: Quantisation
    ) throws {
        func fault(_ value: Float) throws -> String? {
            var values = (0..<128).map { Float($0) / 64 - 1 }
            values[100] = value
            let tensors: Tensors = ["w.weight": (.float32, [2, 64], bytes(values))]
            return try self.fault("null", [2, 64], tensors, .quantised(quantisation))
        }
        #expect(try fault(60_000) == nil)
        for value in [Float.nan, .infinity, -.infinity] {
            let error = try fault(value)
            #expect(error?.contains("w.weight") == true && error?.contains("finite") == true)
        }
        // Half precision, in which their scales are kept, ends at 65,504.
        for value in [Float(1e30), -1e30] {
            #expect((try fault(value) == nil) == (quantisation == .nf4))
        }
    }

    @Test func `a state of bitsandbytes is what its name says`() throws {
        func fault(
            _ state: String,
            offset: Bool = false,
            map: [Float] = (0..<16).map(Float.init)
        ) throws -> String? {
            var tensors: Tensors = [
                "w.weight": (.uint8, [64, 1], [UInt8](repeating: 0x5A, count: 64)),
                "w.weight.quant_map": (.float32, [16], bytes(map)),
                "w.weight.absmax": (.float32, [2], bytes([Float(1), 2])),
                "w.weight.quant_state.bitsandbytes__nf4": (
                    .uint8, [state.utf8.count], Array(state.utf8)
                ),
            ]
            if offset {
                tensors["w.weight.absmax"] = (.uint8, [2], [3, 4])
                tensors["w.weight.nested_absmax"] = (.float32, [1], bytes([Float(1)]))
                let map = [Float](repeating: 0.5, count: 256)
                tensors["w.weight.nested_quant_map"] = (.float32, [256], bytes(map))
            }
            return try self.fault(#"{"load_in_4bit": true}"#, [2, 64], tensors)
        }
        let rest = #""blocksize": 64, "dtype": "float16""#
        #expect(try fault("{\(rest), \"shape\": [2, 64]}") == nil)
        #expect(try fault("{\(rest), \"shape\": [2, 64], \"quant_type\": \"nf4\"}") == nil)
        for wrong in [#""fp4""#, "7"] {
            let error = try fault("{\(rest), \"shape\": [2, 64], \"quant_type\": \(wrong)}")
            #expect(error?.contains("quant_type") == true, "\(wrong)")
        }
        #expect(try fault("{\(rest), \"shape\": [\"x\", 2, 64]}") != nil)
        let nested = #""nested_blocksize": 256, "nested_offset": "#
        #expect(try fault("{\(rest), \"shape\": [2, 64], \(nested)0.5}", offset: true) == nil)
        let error = try fault("{\(rest), \"shape\": [2, 64], \(nested)1e308}", offset: true)
        #expect(error?.contains("finite") == true)
        let map = [Float](repeating: .nan, count: 16)
        #expect(try fault("{\(rest), \"shape\": [2, 64]}", map: map)?.contains("quant_map") == true)
    }
}
