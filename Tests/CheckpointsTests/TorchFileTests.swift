import Checkpoints
import Foundation
import Testing

@Suite struct TorchFileTests {
    func open(_ file: [UInt8]) throws -> Checkpoint {
        let bench = try Bench()
        try bench.write("config.json", #"{"model_type":"bdh"}"#)
        try bench.write("model.pt", file)
        return try Checkpoint(opening: bench.path)
    }

    func failure(_ file: [UInt8]) -> CheckpointError? {
        do {
            _ = try open(file)
            return nil
        } catch {
            return error as? CheckpointError
        }
    }

    static let data = (0..<48).map { UInt8($0) }
    static let sound = PickleWriter.program {
        $0.ordered {
            $0.text("a")
            $0.tensor([2, 3], storage: "0")
            $0.text("b")
            $0.tensor([4], storage: "1", count: 12, offset: 8, type: "HalfStorage")
        }
    }
    static let storages = ["0": Array(data[..<24]), "1": Array(data[24...])]

    @Test func `tensors are found with name, format, shape and bytes`() throws {
        let checkpoint = try open(torchFile(Self.sound, Self.storages).bytes)
        let a = try #require(checkpoint.tensors["a"])
        let b = try #require(checkpoint.tensors["b"])
        #expect(checkpoint.tensors.count == 2)
        #expect(a.format == .float32 && a.shape == [2, 3] && Array(a.bytes) == Self.storages["0"])
        #expect(b.format == .float16 && b.shape == [4] && Array(b.bytes) == Array(Self.data[40...]))
    }

    @Test func `safetensors beside it go first`() throws {
        let bench = try Bench()
        try bench.write("model.pt", [1, 2, 3])
        let header = #"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        let checkpoint = try bench.open(weights: safetensors(header, data: 1))
        #expect(Array(checkpoint.tensors.keys) == ["x"])
    }

    @Test func `a training checkpoint's model is found below its key, without wrappers`() throws {
        let program = PickleWriter.program {
            $0.dictionary {
                $0.text("step")
                $0.int(-7)
                $0.text("optimizer")
                $0.dictionary {
                    $0.text("lr")
                    $0.raw([0x47, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0])
                    $0.text("groups")
                    $0.raw([0x5D, 0x28])
                    $0.int(1)
                    $0.raw([0x4E, 0x65])
                }
                $0.text("model")
                $0.ordered {
                    $0.text("_orig_mod.encoder")
                    $0.tensor([1, 2, 3], storage: "0")
                    $0.text("tied")
                    $0.tensor([6], storage: "0")
                }
            }
        }
        let checkpoint = try open(torchFile(program, Self.storages).bytes)
        #expect(Set(checkpoint.tensors.keys) == ["encoder", "tied"])
        #expect(checkpoint.tensors["encoder"]?.shape == [1, 2, 3])
    }

    // MARK: Programs

    static let hostile: [(String, [UInt8])] = [
        ("os.system", Array("cos\nsystem\n(X\u{4}\0\0\0true".utf8) + [0x74, 0x52]),
        ("builtins.eval", Array("cbuiltins\neval\n".utf8)),
        ("torch.load", Array("ctorch\nload\n".utf8)),
        ("_codecs.encode", Array("c_codecs\nencode\n".utf8)),
        ("__main__.Config", Array("c__main__\nConfig\n".utf8) + [0x29, 0x81]),
        (
            "STACK_GLOBAL",
            [0x8C, 5] + Array("posix".utf8) + [0x8C, 6] + Array("system".utf8) + [0x93]
        ),
        ("INST", Array("(ios\nsystem\n".utf8)), ("OBJ", [0x28, 0x6F]), ("EXT1", [0x82, 1]),
        ("PERSID", Array("P0\n".utf8)), ("GET", Array("g0\n".utf8)), ("POP", [0x4E, 0x30]),
        ("BYTEARRAY8", [0x96, 255, 255, 255, 255, 255, 255, 255, 127]),
        ("REDUCE of nothing", [0x52]), ("REDUCE of a number", [0x4B, 1, 0x29, 0x52]),
        ("BUILD of a tuple", [0x29, 0x7D, 0x62]), ("SETITEM into nothing", [0x4E, 0x4E, 0x73]),
        ("TUPLE without a mark", [0x4E, 0x74]), ("MARK under SETITEM", [0x7D, 0x28, 0x4E, 0x73]),
        ("memo", [0x68, 9]), ("a text of 4 GB", [0x58, 255, 255, 255, 255]),
        ("LONG1 of 255 bytes", [0x8A, 255]), ("BINPERSID of a number", [0x4B, 1, 0x51]),
        ("a name without an end", [0x63] + [UInt8](repeating: 0x61, count: 9000)),
        ("protocol 0", [0x80, 0]), ("nothing", []), ("a number", [0x4B, 1]),
        (
            "OrderedDict with arguments",
            Array("ccollections\nOrderedDict\n".utf8) + [0x4E, 0x85, 0x52]
        ),
        ("storage type called", Array("ctorch\nFloatStorage\n".utf8) + [0x29, 0x52]),
        ("tensor of nothing", Array("ctorch._utils\n_rebuild_tensor_v2\n".utf8) + [0x29, 0x52]),
    ]

    @Test(arguments: hostile.indices)
    func `programs that do anything else end in an error`(_ index: Int) {
        let program = [0x80, 2] + Self.hostile[index].1 + [0x2E]
        #expect(failure(torchFile(program, Self.storages).bytes) != nil)
    }

    @Test func `what a refused program names is in the message`() {
        let program = [0x80, 2] + Array("cos\nsystem\n".utf8) + [0x2E]
        let error = failure(torchFile(program).bytes)
        #expect(error?.kind == .unsupported && error?.detail.contains("os.system") == true)
    }

    @Test(.timeLimit(.minutes(1)))
    func `programs that grow without end are stopped`() {
        let million = 1 << 20
        let bombs: [[UInt8]] = [
            [0x29] + [UInt8](repeating: 0x85, count: 2 * million),  // tuples in tuples
            [UInt8](repeating: 0x28, count: 2 * million),  // marks
            [0x7D, 0x71, 0] + [UInt8](repeating: 0x7D, count: 2 * million),  // dictionaries
            [0x4E, 0x71, 0] + [[UInt8]](repeating: [0x68, 0], count: 2 * million).joined(),
            [UInt8](repeating: 0x4E, count: 17 * million),  // too long
        ]
        for bomb in bombs {
            #expect(failure(torchFile([0x80, 2] + bomb + [0x2E]).bytes) != nil)
        }
    }

    @Test func `a dictionary inside itself is no cycle`() throws {
        let program = PickleWriter.program {
            $0.raw([0x7D, 0x71, 0, 0x28])
            $0.text("model")
            $0.raw([0x68, 0])
            $0.text("a")
            $0.tensor([6], storage: "0")
            $0.raw([0x75])
        }
        #expect(try open(torchFile(program, Self.storages).bytes).tensors["a"] != nil)
    }

    // MARK: Tensors

    func tensors(_ body: (inout PickleWriter) -> Void) -> [UInt8] {
        torchFile(PickleWriter.program { $0.ordered(body) }, Self.storages).bytes
    }

    @Test func `tensors outside their storage, over it, or in disorder are errors`() {
        let wrong: [(inout PickleWriter) -> Void] = [
            { $0.tensor([7], storage: "0") },
            { $0.tensor([7], storage: "0", count: 6) },
            { $0.tensor([6], storage: "0", offset: 1) },
            { $0.tensor([2], storage: "0", count: 6, offset: 5) },
            { $0.tensor([2], storage: "0", count: 6, offset: .max) },
            { $0.tensor([2], storage: "0", count: 6, offset: -1) },
            { $0.tensor([-2, -3], storage: "0", count: 6) },
            { $0.tensor([.max, 2], storage: "0", count: 6, strides: [2, 1]) },
            { $0.tensor([1 << 40, 1 << 40], storage: "0", count: 6, strides: [1 << 40, 1]) },
            { $0.tensor([3, 2], storage: "0", strides: [1, 3]) },
            { $0.tensor([6, 6], storage: "0", count: 6, strides: [0, 1]) },
            { $0.tensor([6], storage: "0", count: 6, strides: [0]) },
            { $0.tensor([6], storage: "0", strides: [1, 1]) },
            { $0.tensor([6], storage: "7") },
            { $0.tensor([6], storage: "../byteorder") },
            { $0.tensor([6], storage: "0", count: .max) },
            { $0.tensor([6], storage: "0", type: "DoubleStorage") },
            { $0.tensor([6], storage: "0", type: "UntypedStorage") },
            { $0.tensor([1, 1, 1, 1, 1, 1, 1, 1, 6], storage: "0") },
        ]
        for (index, body) in wrong.enumerated() {
            let file = tensors {
                $0.text("a")
                body(&$0)
            }
            #expect(failure(file) != nil, "case \(index)")
        }
        let overlap = tensors {
            $0.text("a")
            $0.tensor([4], storage: "0", count: 6)
            $0.text("b")
            $0.tensor([4], storage: "0", count: 6, offset: 2)
        }
        #expect(failure(overlap)?.detail.contains("overlap") == true)
        let twice = tensors {
            $0.text("a")
            $0.tensor([6], storage: "0")
            $0.text("_orig_mod.a")
            $0.tensor([6], storage: "0")
        }
        #expect(failure(twice)?.detail.contains("twice") == true)
    }

    // MARK: Archives

    @Test func `archives that compress, overlap, repeat or lie are errors`() {
        let changes: [(inout ArchiveWriter) -> Void] = [
            { $0.files[2].method = 8 },
            { $0.files[0].flags = 1 },
            { $0.files[2].header = 0 },
            { $0.files[2].header = .max - 1 },
            { $0.files[2].size = 1 << 30 },
            { $0.files[2].size = .max - 1 },
            { $0.files[2].size = 25 },
            { $0.files[3].name = "model/data/0" },
            { $0.files[1].data = Array("big".utf8) },
            { $0.files[0].name = "model/other.pkl" },
            { $0.add("second/data.pkl", []) },
            { $0.count = 9 },
            { $0.count = 0xFFFF },
            { $0.count = 0 },
        ]
        for (index, change) in changes.enumerated() {
            var archive = torchFile(Self.sound, Self.storages)
            change(&archive)
            #expect(failure(archive.bytes) != nil, "case \(index)")
        }
        let old = failure([0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9])
        #expect(old?.kind == .unsupported)
    }

    @Test func `a file cut at any length is an error`() {
        let whole = torchFile(Self.sound, Self.storages).bytes
        for length in 0..<whole.count {
            #expect(failure(Array(whole[..<length])) != nil, "\(length) bytes")
        }
    }

    @Test func `thousands of mutations end in an error or in sound tensors`() throws {
        let whole = torchFile(Self.sound, Self.storages).bytes
        var draw = SystemRandomNumberGenerator()
        let bench = try Bench()
        try bench.write("config.json", #"{"model_type":"bdh"}"#)
        for _ in 0..<4000 {
            var file = whole
            for _ in 0..<Int.random(in: 1...4, using: &draw) {
                let place = Int.random(in: 0..<file.count, using: &draw)
                file[place] =
                    [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &draw)]
                    .randomElement(using: &draw) ?? 0
            }
            try bench.write("model.pt", file)
            guard let checkpoint = try? Checkpoint(opening: bench.path) else { continue }
            for tensor in checkpoint.tensors.values {
                #expect(tensor.format.byteCount(of: tensor.shape) == tensor.bytes.count)
                _ = tensor.bytes.reduce(0) { $0 &+ Int($1) }
            }
        }
    }
}
