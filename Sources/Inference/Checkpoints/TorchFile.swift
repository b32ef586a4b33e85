/// Reads a file of `torch.save`: a dictionary of tensors, or one inside a training checkpoint.
enum TorchFile {
    /// Keys under which training checkpoints keep the model's tensors.
    private static let nests = ["model", "state_dict", "model_state_dict"]
    /// What wrappers put before every name.
    private static let wrappers = ["_orig_mod.", "module."]

    static func entries(of file: MappedFile) throws(CheckpointError) -> [TensorEntry] {
        func fail(_ detail: String) -> CheckpointError {
            CheckpointError(.corrupt, file: file.name, detail)
        }
        guard ZipArchive.isOne(file) else {
            throw CheckpointError(
                .unsupported,
                file: file.name,
                "is no file of torch.save (version 1.6 or later)"
            )
        }
        let archive = try ZipArchive(file)
        // The folder inside has the name that the file had when it was written.
        let roots = archive.files.keys.filter {
            $0.hasSuffix("/data.pkl") && $0.count { $0 == "/" } == 1
        }
        guard roots.count == 1, let name = roots.first, let program = archive.files[name] else {
            throw fail("has no data.pkl inside")
        }
        let root = name.dropLast("data.pkl".count)
        if let order = archive.files["\(root)byteorder"], !order.starts(with: Array("little".utf8))
        {
            throw CheckpointError(.unsupported, file: file.name, "is not little-endian")
        }
        let pickle = try TensorPickle(program, file: file.name)
        var entries: [TensorEntry] = []
        var taken: [String: Set<Range<Int>>] = [:]
        for (name, tensor) in try tensors(pickle, file) {
            let storage = tensor.storage
            guard let bytes = archive.files["\(root)data/\(storage.key)"],
                storage.format.byteCount(of: [storage.count]) == bytes.count
            else {
                throw fail("tensor '\(name)' has no storage of \(storage.count) values")
            }
            let range = try place(of: tensor, name, fail)
            if !range.isEmpty { taken[storage.key, default: []].insert(range) }
            entries.append(
                TensorEntry(
                    name: name,
                    format: storage.format,
                    shape: tensor.shape,
                    bytes: UnsafeRawBufferPointer(rebasing: bytes[range]),
                    ropePermutedHeads: nil,
                    file: file.name
                )
            )
        }
        // The same values twice are tied weights; others that overlap have no meaning here.
        for ranges in taken.values {
            let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
            for (one, next) in zip(sorted, sorted.dropFirst()) where one.overlaps(next) {
                throw fail("tensors overlap at byte \(next.lowerBound) of their storage")
            }
        }
        return entries
    }

    /// The bytes of a tensor in its storage; its rows must follow each other.
    private static func place(
        of tensor: TensorPickle.Tensor,
        _ name: String,
        _ fail: (String) -> CheckpointError
    ) throws(CheckpointError) -> Range<Int> {
        var expected = 1
        for (side, stride) in zip(tensor.shape, tensor.strides).reversed() {
            guard side == 1 || stride == expected || expected == 0 else {
                throw fail("tensor '\(name)' is a view: its values do not lie one after another")
            }
            let (product, overflow) = expected.multipliedReportingOverflow(by: side)
            guard !overflow else { throw fail("tensor '\(name)' is impossibly large") }
            expected = product
        }
        let (end, overflow) = tensor.offset.addingReportingOverflow(expected)
        guard !overflow, end <= tensor.storage.count else {
            throw fail("tensor '\(name)' goes beyond its storage of \(tensor.storage.count) values")
        }
        let size = tensor.storage.format.blockBytes
        return tensor.offset * size..<end * size
    }

    /// The tensors of the dictionary, or of the one that it keeps as the model, by their plain names.
    private static func tensors(_ pickle: TensorPickle, _ file: MappedFile) throws(CheckpointError)
        -> [(String, TensorPickle.Tensor)]
    {
        guard case .dictionary(let index) = pickle.result else {
            throw CheckpointError(.unsupported, file: file.name, "holds no dictionary")
        }
        var members = pickle.dictionaries[index]
        for nest in nests {
            if case .dictionary(let inner)? = members.last(where: { $0.key == nest })?.value {
                members = pickle.dictionaries[inner]
                break
            }
        }
        var found: [(String, TensorPickle.Tensor)] = []
        for (key, value) in members {
            guard case .tensor(let tensor) = value else { continue }
            let wrapper = wrappers.first { key.hasPrefix($0) } ?? ""
            found.append((String(key.dropFirst(wrapper.count)), tensor))
        }
        guard !found.isEmpty else {
            throw CheckpointError(.unsupported, file: file.name, "holds no tensors by name")
        }
        return found
    }
}
