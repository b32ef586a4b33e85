import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct GGUFTests {
    private func fault(_ bytes: [UInt8]) throws -> CheckpointError? {
        let bench = try Bench()
        do {
            _ = try bench.open(gguf: bytes)
            return nil
        } catch let error as CheckpointError { return error }
    }

    @Test(arguments: [2, 3] as [UInt32])
    func `keys of every type are read`(_ version: UInt32) throws {
        var writer = GGUFWriter.sample
        writer.version = version
        let bench = try Bench()
        let metadata = try #require(try bench.open(gguf: writer.file()).ggufMetadata)
        #expect(metadata.int("t.u8") == 200)
        #expect(metadata.int("t.i8") == -5)
        #expect(metadata.int("t.u16") == 60_000)
        #expect(metadata.int("t.i16") == -600)
        #expect(metadata.int("t.i32") == -70_000)
        #expect(metadata.double("t.f32") == 1.5)
        #expect(metadata.bool("t.bool") == true)
        #expect(metadata.int("t.u64") == 1 << 40)
        #expect(metadata.int("t.i64") == .min)
        #expect(metadata.double("t.f64") == .pi)
        #expect(metadata.ints("t.ints") == [1, -2, 3])
        #expect(metadata.values["t.bools"] == .bools([false, true]))
        #expect(metadata.values["t.floats"] == .floats([0.25]))
        #expect(metadata.strings("tokenizer.ggml.tokens") == ["a", "b", "</s>"])
        #expect(metadata.architecture == "llama")
        #expect(metadata.int("none") == nil)
    }

    @Test func `tensors have Hugging Face's names and torch's order of sides`() throws {
        let bench = try Bench()
        let checkpoint = try bench.open(gguf: GGUFWriter.sample.file())
        let table = try #require(checkpoint.tensors["model.embed_tokens.weight"])
        #expect(table.shape == [3, 4])
        #expect(Array(table.bytes) == (0..<48).map { UInt8($0) })
        let q = try #require(checkpoint.tensors["model.layers.0.self_attn.q_proj.weight"])
        #expect(q.ropePermutedHeads == 2)
        #expect(q.format == .float16)
        let k = try #require(checkpoint.tensors["model.layers.0.self_attn.k_proj.weight"])
        #expect(k.ropePermutedHeads == 1)
        #expect(k.format == .q8_0)
        #expect(k.bytes.count == 68)
        #expect(checkpoint.tensors["odd.name"]?.shape == [])
        #expect(checkpoint.modelType == "llama")
        #expect(checkpoint.contextLength == 77)
        #expect(checkpoint.configuration.vocabularySize == 3)
        #expect(checkpoint.configuration.eosTokenIDs == [2])
        #expect(checkpoint.config["tie_word_embeddings"]?.bool == true)
    }

    @Test func `another alignment moves the data`() throws {
        var writer = GGUFWriter()
        writer.alignment = 64
        writer.key("general.architecture", "llama")
        writer.key("general.alignment", 64)
        writer.tensor("a", [1], type: 24, [5])
        writer.tensor("b", [1], type: 24, [6])
        let bench = try Bench()
        let checkpoint = try bench.open(gguf: writer.file())
        #expect(checkpoint.tensors["b"].map { Array($0.bytes) } == [6])
    }

    @Test func `a file cut at any length is corrupt`() throws {
        var writer = GGUFWriter.sample
        writer.tensor("last", [32], type: 24, .init(repeating: 1, count: 32))
        let whole = writer.file()
        let bench = try Bench()
        for length in 0..<whole.count {
            #expect(throws: CheckpointError.self) {
                try bench.open(gguf: Array(whole.prefix(length)))
            }
        }
        _ = try bench.open(gguf: whole)
    }

    @Test(arguments: [0, 3, 48, 63, 64, 1000, 1 << 20] as [UInt32])
    func `an alignment that is no power of two is corrupt`(_ alignment: UInt32) throws {
        var writer = GGUFWriter()
        writer.key("general.architecture", "llama")
        writer.key("general.alignment", alignment)
        let error = try fault(writer.file())
        let isSound = alignment > 0 && alignment & (alignment - 1) == 0
        #expect((error == nil) == isSound)
    }

    @Test func `counts beyond the file are corrupt at once`() throws {
        let writer = GGUFWriter.sample
        for count in [1000, 1 << 40, UInt64.max, UInt64(Int64.max)] {
            #expect(try fault(writer.file(tensorCount: count))?.kind == .corrupt)
            #expect(try fault(writer.file(keyCount: count))?.kind == .corrupt)
        }
    }

    @Test func `lying tensors are corrupt or unsupported`() throws {
        func one(
            _ shape: [UInt64],
            type: UInt32 = 0,
            data: Int = 32,
            at offset: UInt64? = nil
        ) throws -> CheckpointError? {
            var writer = GGUFWriter()
            writer.key("general.architecture", "llama")
            writer.tensor("x", shape, type: type, .init(repeating: 0, count: data), at: offset)
            return try fault(writer.file())
        }
        #expect(try one([8]) == nil)
        #expect(try one([9])?.kind == .corrupt)
        #expect(try one([8], at: 32)?.kind == .corrupt)
        #expect(try one([8], at: 1)?.kind == .corrupt)
        #expect(try one([8], at: .max)?.kind == .corrupt)
        #expect(try one([8], at: UInt64(Int64.max) & ~31)?.kind == .corrupt)
        #expect(try one([1 << 62, 4])?.kind == .corrupt)
        #expect(try one([.max])?.kind == .corrupt)
        #expect(try one([1 << 32, 1 << 32])?.kind == .corrupt)
        #expect(try one([1, 1, 1, 1, 1])?.kind == .corrupt)
        // 33 values are no whole block.
        #expect(try one([33], type: 8, data: 96)?.kind == .corrupt)
        #expect(try one([8], type: 99)?.kind == .unsupported)
        #expect(try one([1 << 62, 0], data: 0)?.kind == .corrupt)
        #expect(try one([0, 1 << 62], data: 0)?.kind == .corrupt)
    }

    @Test func `tensors lie one after the other`() throws {
        func second(at offset: UInt64) throws -> CheckpointError? {
            var writer = GGUFWriter()
            writer.key("general.architecture", "llama")
            writer.tensor("x", [10], .init(repeating: 0, count: 40))
            writer.tensor("y", [8], .init(repeating: 0, count: 96), at: offset)
            return try fault(writer.file())
        }
        #expect(try second(at: 64) == nil)
        #expect(try second(at: 0)?.detail.contains("'y'") == true)
        #expect(try second(at: 96)?.detail.contains("expected 64") == true)
    }

    @Test(arguments: [Float.nan, .infinity]) func `a number that is none is told by its key`(
        _ value: Float
    ) throws {
        var writer = GGUFWriter.sample
        writer.key("llama.rope.freq_base", type: 6, bytes(value.bitPattern))
        #expect(try fault(writer.file())?.detail.contains("llama.rope.freq_base") == true)
    }

    @Test func `keys that come twice, unknown types and huge numbers are corrupt`() throws {
        var twice = GGUFWriter()
        twice.key("a", 1)
        twice.key("a", 2)
        #expect(try fault(twice.file())?.kind == .corrupt)
        var unknown = GGUFWriter()
        unknown.key("a", type: 13, bytes(UInt64(0)))
        #expect(try fault(unknown.file())?.kind == .corrupt)
        var huge = GGUFWriter()
        huge.key("a", type: 10, bytes(UInt64.max))
        #expect(try fault(huge.file())?.kind == .corrupt)
        var nested = GGUFWriter()
        nested.key("a", elements: 9, count: 1, bytes(UInt32(4)) + bytes(UInt64(0)))
        #expect(try fault(nested.file())?.kind == .corrupt)
        var long = GGUFWriter()
        long.key("a", elements: 4, count: 1 << 60, [])
        #expect(try fault(long.file())?.kind == .corrupt)
        // It is all there, and would take eight times its room in memory.
        let count = (1 << 24) + 1
        var wide = GGUFWriter()
        wide.key("a", elements: 0, count: count, [UInt8](repeating: 0, count: count))
        #expect(try fault(wide.file())?.kind == .corrupt)
        var tensors = GGUFWriter()
        tensors.tensor("x", [1], type: 24, [1])
        tensors.tensor("x", [1], type: 24, [1])
        #expect(try fault(tensors.file())?.kind == .corrupt)
    }

    @Test func `a vocabulary that does not fit the embedding is corrupt`() throws {
        for rows in [2, 4] as [UInt64] {
            var writer = GGUFWriter()
            writer.key("general.architecture", "llama")
            let tokens = ["a", "b", "c"].flatMap { GGUFWriter.string($0) }
            writer.key("tokenizer.ggml.tokens", elements: 8, count: 3, tokens)
            let data = [UInt8](repeating: 0, count: Int(rows) * 4)
            writer.tensor("token_embd.weight", [1, rows], data)
            #expect {
                try Bench().open(gguf: writer.file())
            } throws: {
                let detail = ($0 as? CheckpointError)?.detail ?? ""
                return detail.contains("3 tokens") && detail.contains("\(rows) rows")
            }
        }
    }

    @Test func `other versions are unsupported, other files corrupt`() throws {
        for version in [0, 1, 4, 0x0300_0000, .max] as [UInt32] {
            var writer = GGUFWriter.sample
            writer.version = version
            #expect(try fault(writer.file())?.kind == .unsupported)
        }
        #expect(try fault(Array("GGML".utf8) + .init(repeating: 0, count: 100))?.kind == .corrupt)
        #expect(try fault([])?.kind == .corrupt)
    }

    @Test func `thousands of mutations end in an error or in sound tensors`() throws {
        let whole = GGUFWriter.sample.file()
        let bench = try Bench()
        var dice = Dice(state: 5)
        var opened = 0
        for _ in 0..<5000 {
            guard let checkpoint = try? bench.open(gguf: dice.mutated(whole)) else { continue }
            opened += 1
            var sum: UInt64 = 0
            for entry in checkpoint.tensors.values {
                for byte in entry.bytes { sum &+= UInt64(byte) }
                #expect(entry.format.byteCount(of: entry.shape) == entry.bytes.count)
            }
            _ = (
                checkpoint.contextLength, checkpoint.configuration.eosTokenIDs,
                checkpoint.configuration.vocabularySize
            )
        }
        #expect(opened > 0 && opened < 5000)
    }
}
