import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct SafetensorsTests {
    private let two = """
        {"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},\
        "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}
        """

    private func fault(_ header: String, data: Int, length: UInt64? = nil) throws
        -> CheckpointError?
    {
        let bench = try Bench()
        do {
            _ = try bench.open(weights: safetensors(header, data: data, length: length))
            return nil
        } catch let error as CheckpointError { return error }
    }

    private func one(_ shape: String, _ offsets: String, dtype: String = "F32") -> String {
        #"{"a":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(offsets)}}"#
    }

    @Test func `tensors are found with name, format, shape and bytes`() throws {
        let bench = try Bench()
        let checkpoint = try bench.open(weights: safetensors(two, data: 32))
        #expect(checkpoint.tensors.keys.sorted() == ["a", "b"])
        let a = try #require(checkpoint.tensors["a"])
        #expect(a.shape == [2, 3])
        #expect(a.format == .float32)
        #expect(Array(a.bytes) == (0..<24).map { UInt8($0) })
        let b = try #require(checkpoint.tensors["b"])
        #expect(Array(b.bytes) == (24..<32).map { UInt8($0) })
        #expect(checkpoint.totalBytes == 32)
        #expect(!checkpoint.isGGUF)
    }

    @Test func `scalars and empty tensors are sound`() throws {
        #expect(try fault(one("[]", "[0,4]"), data: 4) == nil)
        #expect(try fault(one("[0,7]", "[0,0]"), data: 0) == nil)
        #expect(try fault("{}", data: 0) == nil)
    }

    @Test func `what contradicts the file is corrupt and names the tensor`() throws {
        let wrong = [
            one("[2]", "[0,9]"), one("[2]", "[4,12]"), one("[2]", "[8,0]"), one("[2]", "[-8,0]"),
            one("[2]", "[0,8,9]"), one("[2]", "[0.5,8]"), one("[3]", "[0,8]"), one("[-2]", "[0,8]"),
            one("[4611686018427387904,2]", "[0,8]"),
            one("[9223372036854775807,9223372036854775807]", "[0,8]"),
            one("[2305843009213693952,8]", "[0,0]"), one("[0,4611686018427387904]", "[0,0]"),
            one("[1e400]", "[0,8]"), one("2", "[0,8]"),
            one("[2]", "[0,18446744073709551615]"), #"{"a":{"shape":[2],"data_offsets":[0,8]}}"#,
            #"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, #"{"a":{"dtype":"F32","shape":[2]}}"#,
            #"{"a":7}"#, one("[1,1,1,1,1,1,1,1,2]", "[0,8]"),
        ]
        for header in wrong {
            let error = try fault(header, data: 8)
            #expect(error?.kind == .corrupt, "\(header)")
            #expect(error?.file == "model.safetensors")
        }
        #expect(try fault(one("[3]", "[0,8]"), data: 8)?.detail.contains("'a'") == true)
    }

    @Test func `overlaps, holes and a tail are corrupt`() throws {
        func pair(_ a: String, _ b: String) -> String {
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":\#(a)},"#
                + #""b":{"dtype":"U8","shape":[4],"data_offsets":\#(b)}}"#
        }
        #expect(try fault(pair("[0,4]", "[4,8]"), data: 8) == nil)
        #expect(try fault(pair("[4,8]", "[0,4]"), data: 8) == nil)
        #expect(try fault(pair("[0,4]", "[2,6]"), data: 6)?.kind == .corrupt)
        #expect(try fault(pair("[0,4]", "[0,4]"), data: 4)?.kind == .corrupt)
        #expect(try fault(pair("[0,4]", "[5,9]"), data: 9)?.kind == .corrupt)
        #expect(try fault(pair("[0,4]", "[4,8]"), data: 9)?.kind == .corrupt)
    }

    @Test func `an unknown or block format is unsupported`() throws {
        #expect(try fault(one("[2]", "[0,8]", dtype: "C64"), data: 8)?.kind == .unsupported)
        #expect(try fault(one("[32]", "[0,18]", dtype: "Q4_0"), data: 18)?.kind == .unsupported)
    }

    @Test(arguments: [0, 1, 7, 1 << 32, UInt64.max, UInt64(Int64.max), 99_999_999])
    func `a lying length of the header is corrupt`(_ length: UInt64) throws {
        #expect(try fault(two, data: 32, length: length)?.kind == .corrupt)
    }

    @Test func `a header that is no object is corrupt`() throws {
        for header in [
            "[]", "7", "", "{", "nul", #"{"a":"#, String(repeating: "[", count: 100_000),
        ] {
            #expect(try fault(header, data: 0)?.kind == .corrupt)
        }
    }

    @Test func `a name may come once only`() throws {
        let twice =
            #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
            + #""a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#
        #expect(try fault(twice, data: 2)?.kind == .corrupt)
    }

    @Test func `a file cut at any length is corrupt`() throws {
        let whole = safetensors(two, data: 32)
        let bench = try Bench()
        for length in 0..<whole.count {
            #expect(throws: CheckpointError.self) {
                try bench.open(weights: Array(whole.prefix(length)))
            }
        }
    }

    @Test func `the writer's files are read back`() throws {
        var writer = SafetensorsWriter()
        writer.add("x", .float32, shape: [2, 2], [1, 2, 3, 4] as [Float])
        writer.add("y", .int64, shape: [3], [7, 8, 9] as [Int64])
        let bench = try Bench()
        let checkpoint = try bench.open(weights: [UInt8](writer.data()))
        #expect(
            checkpoint.tensors["x"]?.bytes.loadUnaligned(fromByteOffset: 12, as: Float.self) == 4
        )
        #expect(
            checkpoint.tensors["y"]?.bytes.loadUnaligned(fromByteOffset: 16, as: Int64.self) == 9
        )
    }

    @Test func `thousands of mutations end in an error or in sound tensors`() throws {
        let whole = safetensors(two, data: 32)
        let bench = try Bench()
        var dice = Dice(state: 11)
        var opened = 0
        for _ in 0..<4000 {
            guard let checkpoint = try? bench.open(weights: dice.mutated(whole)) else { continue }
            opened += 1
            // Every byte can be read.
            var sum: UInt64 = 0
            for entry in checkpoint.tensors.values {
                for byte in entry.bytes { sum &+= UInt64(byte) }
                #expect(entry.format.byteCount(of: entry.shape) == entry.bytes.count)
            }
        }
        #expect(opened > 0 && opened < 4000)
    }
}
