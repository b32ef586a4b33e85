import Checkpoints
import Foundation
import JSON

/// A folder that goes away with the test.
final class Bench {
    let path: String
    private var written = ""

    init() throws {
        // Thousands of small files: in memory where that can be had.
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm")
        let base = memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path
        path = "\(base)/checkpoints-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file, in a folder of its own where the name has one.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            at: URL(filePath: file).deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Data(bytes).write(to: URL(filePath: file))
        return file
    }

    /// Writes text.
    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        try write(name, Array(text.utf8))
    }

    /// A model folder whose only weights are these bytes.
    func open(weights: [UInt8], config: String = #"{"model_type":"llama"}"#) throws -> Checkpoint {
        if config != written { try write("config.json", config) }
        written = config
        try write("model.safetensors", weights)
        return try Checkpoint(opening: path)
    }

    /// A GGUF file of these bytes.
    func open(gguf bytes: [UInt8]) throws -> Checkpoint {
        try Checkpoint(opening: write("model.gguf", bytes))
    }
}

/// Safetensors of a header and so many bytes of data.
func safetensors(_ header: String, data: Int, length: UInt64? = nil) -> [UInt8] {
    bytes(length ?? UInt64(header.utf8.count)) + Array(header.utf8)
        + (0..<data).map { UInt8($0 & 255) }
}

/// Little-endian.
func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// Writes GGUF files, wrong ones too.
struct GGUFWriter {
    var version: UInt32 = 3
    var alignment = 32
    private var keys: [[UInt8]] = []
    private var tensors:
        [(name: String, shape: [UInt64], type: UInt32, data: [UInt8], offset: UInt64?)] =
            []

    static func string(_ text: String) -> [UInt8] {
        bytes(UInt64(text.utf8.count)) + Array(text.utf8)
    }

    mutating func key(_ name: String, type: UInt32, _ value: [UInt8]) {
        keys.append(Self.string(name) + bytes(type) + value)
    }
    mutating func key(_ name: String, _ text: String) { key(name, type: 8, Self.string(text)) }
    mutating func key(_ name: String, _ number: UInt32) { key(name, type: 4, bytes(number)) }
    mutating func key(_ name: String, elements type: UInt32, count: Int, _ value: [UInt8]) {
        key(name, type: 9, bytes(type) + bytes(UInt64(count)) + value)
    }
    /// `shape` in GGUF's order, fastest side first.
    mutating func tensor(
        _ name: String,
        _ shape: [UInt64],
        type: UInt32 = 0,
        _ data: [UInt8],
        at offset: UInt64? = nil
    ) {
        tensors.append((name, shape, type, data, offset))
    }

    func file(tensorCount: UInt64? = nil, keyCount: UInt64? = nil) -> [UInt8] {
        var file = Array("GGUF".utf8) + bytes(version)
        file += bytes(tensorCount ?? UInt64(tensors.count)) + bytes(keyCount ?? UInt64(keys.count))
        file += keys.joined()
        var data: [UInt8] = []
        for tensor in tensors {
            file += Self.string(tensor.name) + bytes(UInt32(tensor.shape.count))
            file += tensor.shape.flatMap { bytes($0) } + bytes(tensor.type)
            file += bytes(tensor.offset ?? UInt64(data.count))
            data += tensor.data
            data += [UInt8](repeating: 0, count: (alignment - data.count % alignment) % alignment)
        }
        file += [UInt8](repeating: 0, count: (alignment - file.count % alignment) % alignment)
        return file + data
    }

    /// A small sound file with a key of every type.
    static var sample: GGUFWriter {
        var writer = GGUFWriter()
        writer.key("general.architecture", "llama")
        writer.key("llama.block_count", 1)
        writer.key("llama.embedding_length", 4)
        writer.key("llama.attention.head_count", 2)
        writer.key("llama.attention.head_count_kv", 1)
        writer.key("llama.context_length", 77)
        writer.key("tokenizer.ggml.eos_token_id", 2)
        writer.key("t.u8", type: 0, [200])
        writer.key("t.i8", type: 1, bytes(Int8(-5)))
        writer.key("t.u16", type: 2, bytes(UInt16(60_000)))
        writer.key("t.i16", type: 3, bytes(Int16(-600)))
        writer.key("t.i32", type: 5, bytes(Int32(-70_000)))
        writer.key("t.f32", type: 6, bytes(Float(1.5).bitPattern))
        writer.key("t.bool", type: 7, [1])
        writer.key("t.u64", type: 10, bytes(UInt64(1) << 40))
        writer.key("t.i64", type: 11, bytes(Int64.min))
        writer.key("t.f64", type: 12, bytes(Double.pi.bitPattern))
        writer.key(
            "t.ints",
            elements: 5,
            count: 3,
            bytes(Int32(1)) + bytes(Int32(-2)) + bytes(Int32(3))
        )
        writer.key("t.bools", elements: 7, count: 2, [0, 1])
        writer.key("t.floats", elements: 6, count: 1, bytes(Float(0.25).bitPattern))
        writer.key(
            "tokenizer.ggml.tokens",
            elements: 8,
            count: 3,
            string("a") + string("b") + string("</s>")
        )
        writer.tensor("token_embd.weight", [4, 3], (0..<48).map { UInt8($0) })
        writer.tensor("blk.0.attn_q.weight", [4, 4], type: 1, .init(repeating: 1, count: 32))
        writer.tensor("blk.0.attn_k.weight", [32, 2], type: 8, .init(repeating: 2, count: 68))
        writer.tensor("odd.name", [], type: 0, [0, 0, 128, 63])
        return writer
    }
}

/// SplitMix64: the same numbers for the same seed.
struct Dice {
    var state: UInt64
    mutating func next(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((z ^ (z >> 31)) % UInt64(max(1, bound)))
    }

    /// Changes, drops or inserts a few bytes, with a liking for the extremes.
    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...next(3) where !bytes.isEmpty {
            let place = next(bytes.count)
            switch next(5) {
            case 0: bytes[place] = UInt8(next(256))
            case 1: bytes[place] ^= 1 << UInt8(next(8))
            case 2: bytes[place] = 255
            case 3: bytes.remove(at: place)
            default: bytes.insert(UInt8(next(256)), at: place)
            }
        }
        return bytes
    }
}
