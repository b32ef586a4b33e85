import Checkpoints
import Foundation
import Testing
import Torch
import Weights

@Suite struct WeightReaderTests {
    /// A checkpoint with a few tensors, in a folder that goes away with the test.
    final class Folder {
        let url = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)

        init() throws {
            var writer = SafetensorsWriter()
            writer.add("a.weight", .float32, shape: [2, 3], [1, 2, 3, 4, 5, 6] as [Float])
            writer.add("b.weight", .bfloat16, shape: [1, 3], [0x3F80, 0x4000, 0xC000] as [UInt16])
            writer.add("c.weight", .float16, shape: [3], [0x3C00, 0x4000, 0xC000] as [UInt16])
            writer.add("d.weight", .int64, shape: [2], [1, 2] as [Int64])
            writer.add("e.weight", .float32, shape: [2, 3], [1, 2, 3, 4, 5, 6] as [Float])
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            try writer.data().write(to: url.appending(path: "model.safetensors"))
            try Data("{}".utf8).write(to: url.appending(path: "config.json"))
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func checkpoint() throws -> Checkpoint { try Checkpoint(opening: url.path) }
    }

    @Test(arguments: Tensor.DType.allCases)
    func `tensors become the model's type, stacked without copies`(_ dtype: Tensor.DType) throws {
        let folder = try Folder()
        let checkpoint = try folder.checkpoint()
        var heard: [Int] = []
        let reader = WeightReader(checkpoint, dtype: dtype) { done, total in
            heard.append(done)
            #expect(total == checkpoint.totalBytes)
        }
        let stacked = try reader.stacked(["b.weight", "a.weight"], rows: [1, 2], columns: 3)
        #expect(stacked.shape == [3, 3] && stacked.dtype == dtype)
        #expect(stacked.floats == [1, 2, -2, 1, 2, 3, 4, 5, 6])
        #expect(try reader.tensor("c.weight", [3], as: .float32).floats == [1, 2, -2])
        #expect(heard == [6, 30, 36])
        #expect(reader.areEqual("a.weight", "e.weight") && !reader.areEqual("a.weight", "b.weight"))
    }

    @Test func `errors name the tensor, what was expected and what was found`() throws {
        let folder = try Folder()
        let reader = WeightReader(try folder.checkpoint(), dtype: .float32)
        #expect {
            try reader.tensor("x.weight", [1])
        } throws: {
            "\($0)" == "tensor x.weight is missing"
        }
        #expect {
            try reader.tensor("a.weight", [3, 2])
        } throws: {
            "\($0)"
                == "tensor a.weight in model.safetensors: expected the shape [3, 2], found [2, 3]"
        }
        #expect {
            try reader.tensor("d.weight", [2])
        } throws: {
            "\($0)".contains("d.weight") && "\($0)".contains("I64")
        }
    }
}
