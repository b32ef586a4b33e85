import CTorch
import Checkpoints
import Foundation
import Testing
import Torch

/// Blocks of every GGUF format beside what gguf-py decodes them to.
@Suite struct DecodingTests {
    static let formats: [(name: String, code: tg_format)] = [
        ("Q4_0", TG_FORMAT_Q4_0), ("Q4_1", TG_FORMAT_Q4_1), ("Q5_0", TG_FORMAT_Q5_0),
        ("Q5_1", TG_FORMAT_Q5_1), ("Q8_0", TG_FORMAT_Q8_0), ("Q4_K", TG_FORMAT_Q4_K),
        ("Q5_K", TG_FORMAT_Q5_K), ("Q6_K", TG_FORMAT_Q6_K),
    ]

    /// The members of the fixture: name to bytes.
    func fixture() throws -> [String: [UInt8]] {
        let source = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent()
            .appending(path: "Fixtures/weights/gguf_blocks.safetensors")
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(
            at: source,
            to: folder.appending(path: "model.safetensors")
        )
        try Data("{}".utf8).write(to: folder.appending(path: "config.json"))
        let checkpoint = try Checkpoint(opening: folder.path)
        return withExtendedLifetime(checkpoint) {
            checkpoint.tensors.mapValues { [UInt8]($0.bytes) }
        }
    }

    @Test(arguments: 0..<8) func `blocks decode as gguf-py decodes them`(_ index: Int) throws {
        let (name, code) = Self.formats[index]
        let members = try fixture()
        let blocks = try #require(members["\(name).blocks"])
        let expected = try #require(members["\(name).values"]).withUnsafeBytes {
            [Float]($0.assumingMemoryBound(to: Float.self))
        }
        for dtype in Tensor.DType.allCases {
            // One row of zeros stays before them.
            let out = Tensor.zeros([5, 256], dtype)
            try Torch.checked {
                #expect(
                    tg_decode_rows(out.handle, 1, 4, 256, code, blocks, Int64(blocks.count), 0)
                )
            }
            let rounded = Tensor(expected, shape: [1024]).to(dtype).floats
            #expect(out.floats == [Float](repeating: 0, count: 256) + rounded)
        }
    }

    @Test func `rotary rows come out as halves`() throws {
        // Two heads of six rows with two columns: the file has row 2i + j for row 3j + i.
        let file: [Float] = (0..<12).flatMap { [Float($0), Float(-$0)] }
        let out = Tensor.zeros([12, 2], .float32)
        try Torch.checked {
            #expect(tg_decode_rows(out.handle, 0, 12, 2, TG_FORMAT_F32, file, 96, 2))
        }
        let order = [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
        #expect(out.floats == order.flatMap { [Float($0), Float(-$0)] })
    }

    @Test func `what does not fit is refused`() {
        let bytes = [UInt8](repeating: 0, count: 64)
        let out = Tensor.zeros([2, 32], .float32)
        let wrong: [(Int64, Int64, Int64, tg_format, Int64, Int64)] = [
            (1, 2, 32, TG_FORMAT_Q8_0, 68, 0),  // beyond the end
            (0, 1, 31, TG_FORMAT_Q8_0, 34, 0),  // no whole blocks
            (0, 1, 32, TG_FORMAT_Q8_0, 33, 0),  // too few bytes
            (0, 2, 32, TG_FORMAT_F16, 128, 3),  // no such heads
            (-1, 1, 32, TG_FORMAT_F16, 64, 0),
            (0, 0, 32, TG_FORMAT_F16, 0, 0),
            (0, 1, 32, tg_format(rawValue: 99), 64, 0),
        ]
        for (at, rows, columns, format, count, heads) in wrong {
            #expect(throws: TorchError.self) {
                try Torch.checked {
                    tg_decode_rows(out.handle, at, rows, columns, format, bytes, count, heads)
                }
            }
        }
    }
}
