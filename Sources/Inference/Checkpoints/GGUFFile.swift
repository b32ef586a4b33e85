internal import Glibc

/// Reads a GGUF file of version 2 or 3: header, metadata, tensor table, aligned data; little-endian.
struct GGUFFile {
    /// One row of the tensor table, with GGUF's name.
    struct Row {
        let name: String
        let format: TensorFormat
        /// Slowest side first.
        let shape: [Int]
        let bytes: UnsafeRawBufferPointer
    }

    let metadata: GGUFMetadata
    let rows: [Row]

    private static let nameLimit = 65_535
    private static let magic: [UInt8] = Array("GGUF".utf8)

    /// Whether the bytes begin like a GGUF file.
    static func isOne(_ file: MappedFile) -> Bool { file.bytes.starts(with: magic) }

    /// `withTensors`: false reads the metadata only, so that a file cut short behind it serves.
    /// - Throws: `CheckpointError`.
    init(_ file: MappedFile, withTensors: Bool = true) throws(CheckpointError) {
        var cursor = Cursor(file)
        guard Self.isOne(file) else { throw cursor.fail("is no GGUF file") }
        cursor.at = 4
        let version = try cursor.number(UInt32.self)
        guard version == 2 || version == 3 else {
            throw CheckpointError(.unsupported, file: file.name, "GGUF version \(version)")
        }
        let tensorCount = try cursor.count(atLeast: 24)
        let keyCount = try cursor.count(atLeast: 13)
        var values: [String: GGUFValue] = [:]
        for _ in 0..<keyCount {
            let key = try cursor.string(limit: Self.nameLimit)
            let type = try cursor.number(UInt32.self)
            guard values.updateValue(try cursor.value(type, key), forKey: key) == nil else {
                throw cursor.fail("key '\(key)' comes twice")
            }
        }
        metadata = GGUFMetadata(values: values)
        guard withTensors else {
            rows = []
            return
        }
        rows = try Self.table(
            &cursor,
            count: tensorCount,
            alignment: metadata.int("general.alignment") ?? 32
        )
    }

    private static func table(_ cursor: inout Cursor, count: Int, alignment: Int)
        throws(CheckpointError) -> [Row]
    {
        guard alignment > 0, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
            throw cursor.fail("alignment \(alignment)")
        }
        var heads: [(name: String, format: TensorFormat, shape: [Int], offset: Int)] = []
        heads.reserveCapacity(min(count, 1 << 16))
        for _ in 0..<count {
            let name = try cursor.string(limit: nameLimit)
            let sides = try cursor.number(UInt32.self)
            guard sides <= 4 else { throw cursor.fail("tensor '\(name)' has \(sides) sides") }
            var shape: [Int] = []
            for _ in 0..<sides {
                guard let side = Int(exactly: try cursor.number(UInt64.self)) else {
                    throw cursor.fail("tensor '\(name)' has an impossible side")
                }
                shape.insert(side, at: 0)
            }
            let type = try cursor.number(UInt32.self)
            guard let format = TensorFormat(ggmlType: type) else {
                throw CheckpointError(
                    .unsupported,
                    file: cursor.file.name,
                    "tensor '\(name)' has the GGUF type \(type)"
                )
            }
            guard let offset = Int(exactly: try cursor.number(UInt64.self)), offset % alignment == 0
            else {
                throw cursor.fail("tensor '\(name)' has an impossible offset")
            }
            heads.append((name, format, shape, offset))
        }
        let data = (cursor.at + alignment - 1) & ~(alignment - 1)
        var rows: [Row] = []
        // One after the other, as the format wants it: another type or shape than the writer meant shows here.
        var next = 0
        for head in heads {
            guard head.offset == next else {
                throw cursor.fail(
                    "tensor '\(head.name)' begins at \(head.offset), expected \(next)"
                )
            }
            let (start, overflow) = data.addingReportingOverflow(head.offset)
            guard let length = head.format.byteCount(of: head.shape) else {
                throw cursor.fail("tensor '\(head.name)' has the impossible shape \(head.shape)")
            }
            guard !overflow, let bytes = cursor.file.slice(at: start, count: length) else {
                throw cursor.fail(
                    "tensor '\(head.name)' needs \(length) bytes at \(head.offset), beyond the file's end"
                )
            }
            next += (length + alignment - 1) & ~(alignment - 1)
            rows.append(Row(name: head.name, format: head.format, shape: head.shape, bytes: bytes))
        }
        return rows
    }

    /// A place in the file; every read checks that it stays inside.
    private struct Cursor {
        let file: MappedFile
        var at = 0

        init(_ file: MappedFile) { self.file = file }

        func fail(_ detail: String) -> CheckpointError {
            CheckpointError(.corrupt, file: file.name, detail)
        }

        mutating func bytes(_ count: Int) throws(CheckpointError) -> UnsafeRawBufferPointer {
            guard let slice = file.slice(at: at, count: count) else {
                throw fail("ends within its header, at byte \(file.bytes.count)")
            }
            at += count
            return slice
        }

        mutating func number<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type)
            throws(CheckpointError) -> T
        {
            T(littleEndian: try bytes(MemoryLayout<T>.size).loadUnaligned(as: T.self))
        }

        /// A count of things that take at least so many bytes each.
        mutating func count(atLeast size: Int) throws(CheckpointError) -> Int {
            let count = try number(UInt64.self)
            guard let value = Int(exactly: count), value <= (file.bytes.count - at) / size else {
                throw fail("announces \(count) entries, more than fit into the file")
            }
            return value
        }

        /// Entries of an array; no vocabulary has more.
        private static let longestArray = 1 << 24

        /// `limit`: bytes; the longest real ones are chat templates.
        mutating func string(limit: Int = 16 << 20) throws(CheckpointError) -> String {
            let length = try count(atLeast: 1)
            guard length <= limit else { throw fail("a text of \(length) bytes") }
            return String(decoding: try bytes(length), as: UTF8.self)
        }

        mutating func value(_ type: UInt32, _ key: String) throws(CheckpointError) -> GGUFValue {
            switch type {
            case 6, 12: return .float(try float(type))
            case 7: return .bool(try number(UInt8.self) != 0)
            case 8: return .string(try string())
            case 9: return try array(key)
            default: return .int(try int(type, key))
            }
        }

        private mutating func float(_ type: UInt32) throws(CheckpointError) -> Double {
            type == 6
                ? Double(Float(bitPattern: try number(UInt32.self)))
                : Double(bitPattern: try number(UInt64.self))
        }

        private mutating func int(_ type: UInt32, _ key: String) throws(CheckpointError) -> Int {
            switch type {
            case 0: return Int(try number(UInt8.self))
            case 1: return Int(try number(Int8.self))
            case 2: return Int(try number(UInt16.self))
            case 3: return Int(try number(Int16.self))
            case 4: return Int(try number(UInt32.self))
            case 5: return Int(try number(Int32.self))
            case 10:
                guard let value = Int(exactly: try number(UInt64.self)) else {
                    throw fail("key '\(key)' is too large")
                }
                return value
            case 11: return Int(try number(Int64.self))
            default: throw fail("key '\(key)' has the unknown type \(type)")
            }
        }

        private mutating func array(_ key: String) throws(CheckpointError) -> GGUFValue {
            let type = try number(UInt32.self)
            let sizes: [UInt32: Int] = [
                0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 8: 8, 10: 8, 11: 8, 12: 8,
            ]
            guard let size = sizes[type] else {
                throw fail("key '\(key)' is an array of the unknown type \(type)")
            }
            let length = try count(atLeast: size)
            guard length <= Self.longestArray else {
                throw fail("key '\(key)' is an array of \(length) entries")
            }
            switch type {
            case 8:
                var strings: [String] = []
                strings.reserveCapacity(min(length, 1 << 16))
                for _ in 0..<length { strings.append(try string()) }
                return .strings(strings)
            case 6, 12:
                var floats: [Double] = []
                floats.reserveCapacity(min(length, 1 << 16))
                for _ in 0..<length { floats.append(try float(type)) }
                return .floats(floats)
            case 7:
                var flags: [Bool] = []
                for _ in 0..<length { flags.append(try number(UInt8.self) != 0) }
                return .bools(flags)
            default:
                var ints: [Int] = []
                ints.reserveCapacity(min(length, 1 << 16))
                for _ in 0..<length { ints.append(try int(type, key)) }
                return .ints(ints)
            }
        }
    }
}
