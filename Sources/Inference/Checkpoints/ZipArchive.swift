/// The files inside a zip archive whose content is stored as it is: their bytes are slices of the mapping.
///
/// Nothing is ever decompressed, so that no archive becomes larger than its file. Zip64 is understood.
struct ZipArchive {
    /// The bytes of each file by its name.
    let files: [String: UnsafeRawBufferPointer]

    private static let mostFiles = 1 << 18
    private static let longestName = 4096

    /// Whether the bytes begin like an archive.
    static func isOne(_ file: MappedFile) -> Bool { file.bytes.starts(with: [0x50, 0x4B, 3, 4]) }

    /// - Throws: `CheckpointError`.
    init(_ file: MappedFile) throws(CheckpointError) {
        let reader = Reader(file: file)
        let directory = try reader.directory()
        guard directory.count <= Self.mostFiles else {
            throw reader.fail("has \(directory.count) files")
        }
        var files: [String: UnsafeRawBufferPointer] = [:]
        var ranges: [Range<Int>] = []
        var at = directory.offset
        for _ in 0..<directory.count {
            let (entry, next) = try reader.entry(at: at, end: directory.end)
            at = next
            // Names that end so are folders.
            if entry.name.hasSuffix("/"), entry.size == 0 { continue }
            let range = try reader.range(of: entry, before: directory.offset)
            guard let bytes = file.slice(at: range.lowerBound, count: range.count),
                files.updateValue(bytes, forKey: entry.name) == nil
            else { throw reader.fail("file '\(entry.name)' comes twice") }
            ranges.append(range)
        }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        for (one, next) in zip(ranges, ranges.dropFirst()) where one.upperBound > next.lowerBound {
            throw reader.fail("files overlap at byte \(next.lowerBound)")
        }
        self.files = files
    }

    /// One row of the central directory.
    private struct Entry {
        let name: String
        let size: Int
        let header: Int
    }

    /// Reads numbers at checked places.
    private struct Reader {
        let file: MappedFile

        func fail(_ detail: String) -> CheckpointError {
            CheckpointError(.corrupt, file: file.name, "as an archive \(detail)")
        }

        func number<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ offset: Int)
            throws(CheckpointError) -> Int
        {
            guard let bytes = file.slice(at: offset, count: MemoryLayout<T>.size) else {
                throw fail("ends early")
            }
            guard let value = Int(exactly: T(littleEndian: bytes.loadUnaligned(as: T.self))) else {
                throw fail("has an impossible number at byte \(offset)")
            }
            return value
        }

        /// Where the central directory is, and how many rows it has.
        func directory() throws(CheckpointError) -> (offset: Int, end: Int, count: Int) {
            let size = file.bytes.count
            // The end record has 22 bytes and a comment of at most 65,535.
            var end = size - 22
            let last = max(0, size - 22 - 65_535)
            while end >= last, try number(UInt32.self, end) != 0x0605_4B50 { end -= 1 }
            guard end >= last else { throw fail("has no end record") }
            var count = try number(UInt16.self, end + 10)
            var length = try number(UInt32.self, end + 12)
            var offset = try number(UInt32.self, end + 16)
            if count == 0xFFFF || length == 0xFFFF_FFFF || offset == 0xFFFF_FFFF, end >= 20,
                try number(UInt32.self, end - 20) == 0x0706_4B50
            {
                let record = try number(UInt64.self, end - 12)
                guard try number(UInt32.self, record) == 0x0606_4B50 else {
                    throw fail("has no zip64 end record")
                }
                count = try number(UInt64.self, record + 32)
                length = try number(UInt64.self, record + 40)
                offset = try number(UInt64.self, record + 48)
            }
            let (stop, overflow) = offset.addingReportingOverflow(length)
            guard !overflow, stop <= end, count <= length / 46 else {
                throw fail("has a directory that does not fit")
            }
            return (offset, stop, count)
        }

        func entry(at: Int, end: Int) throws(CheckpointError) -> (Entry, next: Int) {
            guard at <= end - 46, try number(UInt32.self, at) == 0x0201_4B50 else {
                throw fail("has a broken directory")
            }
            let flags = try number(UInt16.self, at + 8)
            let method = try number(UInt16.self, at + 10)
            var stored = try number(UInt32.self, at + 20)
            var size = try number(UInt32.self, at + 24)
            let nameLength = try number(UInt16.self, at + 28)
            let extraLength = try number(UInt16.self, at + 30)
            let commentLength = try number(UInt16.self, at + 32)
            var header = try number(UInt32.self, at + 42)
            let next = at + 46 + nameLength + extraLength + commentLength
            guard next <= end, nameLength > 0, nameLength <= ZipArchive.longestName,
                let bytes = file.slice(at: at + 46, count: nameLength)
            else { throw fail("has a broken directory") }
            let name = String(decoding: bytes, as: UTF8.self)
            // Fields that are full stand in the extra part, in this order.
            var extra = at + 46 + nameLength
            let extraEnd = extra + extraLength
            while extra + 4 <= extraEnd {
                let kind = try number(UInt16.self, extra)
                let length = try number(UInt16.self, extra + 2)
                guard extra + 4 + length <= extraEnd else { break }
                if kind == 1 {
                    var place = extra + 4
                    func wide(_ value: inout Int) throws(CheckpointError) {
                        guard value == 0xFFFF_FFFF else { return }
                        guard place + 8 <= extra + 4 + length else {
                            throw fail("file '\(name)' lacks a zip64 number")
                        }
                        value = try number(UInt64.self, place)
                        place += 8
                    }
                    try wide(&size)
                    try wide(&stored)
                    try wide(&header)
                }
                extra += 4 + length
            }
            guard method == 0, flags & 1 == 0, stored == size else {
                throw CheckpointError(
                    .unsupported,
                    file: file.name,
                    "'\(name)' is compressed or encrypted inside; torch.save stores plainly"
                )
            }
            return (Entry(name: name, size: size, header: header), next)
        }

        /// The entry's bytes, which lie behind its own header and before the directory.
        func range(of entry: Entry, before directory: Int) throws(CheckpointError) -> Range<Int> {
            guard entry.header <= directory - 30,
                try number(UInt32.self, entry.header) == 0x0403_4B50
            else { throw fail("file '\(entry.name)' has no header") }
            let name = try number(UInt16.self, entry.header + 26)
            let start = entry.header + 30 + name + (try number(UInt16.self, entry.header + 28))
            let (end, overflow) = start.addingReportingOverflow(entry.size)
            guard !overflow, end <= directory else {
                throw fail("file '\(entry.name)' goes beyond the archive")
            }
            return start..<end
        }
    }
}
