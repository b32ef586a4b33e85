/// Writes zip archives, wrong ones too.
struct ArchiveWriter {
    struct File {
        var name: String
        var data: [UInt8]
        var method: UInt16 = 0
        var flags: UInt16 = 0
        /// What the directory says, where it lies.
        var size: UInt32?
        var header: UInt32?
    }

    var files: [File] = []
    var count: UInt16?

    mutating func add(_ name: String, _ data: [UInt8]) {
        files.append(File(name: name, data: data))
    }

    var bytes: [UInt8] {
        var out: [UInt8] = []
        var directory: [UInt8] = []
        for file in files {
            let header = file.header ?? UInt32(out.count)
            let size = file.size ?? UInt32(file.data.count)
            let name = Array(file.name.utf8)
            let common =
                CheckpointsTests.bytes(UInt16(20)) + CheckpointsTests.bytes(file.flags)
                + CheckpointsTests.bytes(file.method) + [UInt8](repeating: 0, count: 8)
                + CheckpointsTests.bytes(size) + CheckpointsTests.bytes(size)
                + CheckpointsTests.bytes(UInt16(name.count)) + CheckpointsTests.bytes(UInt16(0))
            directory += [0x50, 0x4B, 1, 2, 20, 0] + common + [UInt8](repeating: 0, count: 10)
            directory += CheckpointsTests.bytes(header) + name
            out += [0x50, 0x4B, 3, 4] + common + name + file.data
        }
        let number = CheckpointsTests.bytes(count ?? UInt16(files.count))
        let place = CheckpointsTests.bytes(UInt32(out.count))
        out += directory
        out += [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + number + number
        return out + CheckpointsTests.bytes(UInt32(directory.count)) + place + [0, 0]
    }
}

/// Writes pickles as torch.save does, instruction by instruction.
struct PickleWriter {
    var code: [UInt8] = [0x80, 2]

    /// A program that ends with what `body` writes.
    static func program(_ body: (inout PickleWriter) -> Void) -> [UInt8] {
        var writer = PickleWriter()
        body(&writer)
        return writer.code + [0x2E]
    }

    mutating func raw(_ bytes: [UInt8]) { code += bytes }
    mutating func text(_ text: String) {
        code += [0x58] + bytes(UInt32(text.utf8.count)) + Array(text.utf8)
    }
    mutating func int(_ value: Int) { code += [0x8A, 8] + bytes(Int64(value)) }
    mutating func global(_ module: String, _ name: String) {
        code += Array("c\(module)\n\(name)\n".utf8)
    }
    mutating func tuple(_ body: (inout PickleWriter) -> Void) {
        code.append(0x28)
        body(&self)
        code.append(0x74)
    }
    /// An ordered dictionary of what `body` writes, key after value.
    mutating func ordered(_ body: (inout PickleWriter) -> Void) {
        global("collections", "OrderedDict")
        raw([0x29, 0x52, 0x28])
        body(&self)
        raw([0x75])
    }
    mutating func dictionary(_ body: (inout PickleWriter) -> Void) {
        raw([0x7D, 0x28])
        body(&self)
        raw([0x75])
    }
    mutating func tensor(
        _ shape: [Int],
        storage key: String,
        count: Int? = nil,
        offset: Int = 0,
        strides: [Int]? = nil,
        type: String = "FloatStorage"
    ) {
        global("torch._utils", "_rebuild_tensor_v2")
        tuple { parts in
            parts.tuple {
                $0.text("storage")
                $0.global("torch", type)
                $0.text(key)
                $0.text("cpu")
                $0.int(count ?? shape.reduce(1, &*))
            }
            parts.raw([0x51])
            parts.int(offset)
            parts.tuple { for side in shape { $0.int(side) } }
            var step = 1
            let plain = shape.reversed().map { side in
                defer { step &*= side }
                return step
            }
            parts.tuple { for stride in strides ?? plain.reversed() { $0.int(stride) } }
            parts.raw([0x89])
            parts.global("collections", "OrderedDict")
            parts.raw([0x29, 0x52])
        }
        raw([0x52])
    }
}

/// A `model.pt` of a program and its storages.
func torchFile(_ program: [UInt8], _ storages: [String: [UInt8]] = [:]) -> ArchiveWriter {
    var archive = ArchiveWriter()
    archive.add("model/data.pkl", program)
    archive.add("model/byteorder", Array("little".utf8))
    for (key, data) in storages.sorted(by: { $0.key < $1.key }) {
        archive.add("model/data/\(key)", data)
    }
    return archive
}
