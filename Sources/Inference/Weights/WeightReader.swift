public import Checkpoints
import CTorch
import Glibc
public import Torch

/// In which form weights of matrix products are kept.
public enum WeightForm: Sendable, Equatable {
    /// In the compute type.
    case dense
    /// Quantised ones as they are stored, where there are kernels for them; the others dense.
    case stored
}

/// Decodes a checkpoint's tensors straight into the model's own, each once.
///
/// There are no temporaries: the peak is the weights in the compute type; the file's pages are given
/// back to the page cache as soon as they were read. Used on the engine thread.
public final class WeightReader {
    /// The checkpoint.
    public let checkpoint: Checkpoint
    /// The type that weights are decoded to.
    public let dtype: Tensor.DType
    /// How `matrix` keeps weights.
    public let form: WeightForm
    private let progress: (_ done: Int, _ total: Int) -> Void
    private var done = 0
    private var used: Set<String> = []

    /// A reader that reports stored bytes read and their total to `progress`.
    public init(
        _ checkpoint: Checkpoint,
        dtype: Tensor.DType,
        form: WeightForm = .dense,
        progress: @escaping (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) {
        self.checkpoint = checkpoint
        self.dtype = dtype
        self.form = form
        self.progress = progress
    }

    /// Whether the checkpoint has the tensor.
    public func has(_ name: String) -> Bool { checkpoint.tensors[name] != nil }

    /// Names of the checkpoint's tensors, in the file's own spelling, that nothing has asked for.
    public var unused: [String] {
        checkpoint.tensors.keys.filter { !used.contains($0) }.map(spelled).sorted()
    }

    /// One tensor of exactly `shape` (one or two axes).
    /// - Throws: `WeightError`.
    public func tensor(_ name: String, _ shape: [Int], as dtype: Tensor.DType? = nil) throws
        -> Tensor
    {
        try stacked([name], rows: [shape.first ?? 0], columns: shape.dropFirst().first, as: dtype)
    }

    /// One tensor of exactly `shape` as a matrix of its last axis.
    /// - Throws: `WeightError`.
    public func flattened(_ name: String, _ shape: [Int], as dtype: Tensor.DType? = nil) throws
        -> Tensor
    {
        let entry = try entry(name, shape)
        let columns = shape.last ?? 1
        let rows = shape.dropLast().reduce(1, *)
        let out = Tensor.empty([rows, columns], dtype ?? self.dtype)
        try decode(entry, into: out, at: 0, rows: rows, columns: columns)
        return out
    }

    /// Several tensors one below the other: `[rows[i], columns]` each, or `[rows[i]]` without columns.
    /// - Throws: `WeightError`.
    public func stacked(
        _ names: [String],
        rows: [Int],
        columns: Int?,
        as dtype: Tensor.DType? = nil
    ) throws -> Tensor {
        let tail = columns.map { [$0] } ?? []
        let entries = try zip(names, rows).map { try entry($0, [$1] + tail) }
        let out = Tensor.empty([rows.reduce(0, +)] + tail, dtype ?? self.dtype)
        var at = 0
        for (entry, count) in zip(entries, rows) {
            try decode(entry, into: out, at: at, rows: count, columns: columns ?? 1)
            at += count
        }
        return out
    }

    /// Several tensors `[rows[i], columns]` one below the other, in the reader's form.
    /// - Throws: `WeightError`.
    public func matrix(_ names: [String], rows: [Int], columns: Int) throws -> WeightMatrix {
        let formats = names.map { checkpoint.tensors[$0]?.format.code }
        let staying = formats.compactMap { $0 }.filter { tg_packs($0, Int64(columns)) }
        guard form == .stored, staying.count == names.count else {
            return .dense(try stacked(names, rows: rows, columns: columns))
        }
        let entries = try zip(names, rows).map { try entry($0, [$1, columns]) }
        let out = PackedWeight(rows: rows.reduce(0, +), columns: columns)
        for (entry, count) in zip(entries, rows) { try pack(entry, into: out, rows: count) }
        return .packed(out)
    }

    /// Whether two tensors are stored as the same bytes.
    public func areEqual(_ a: String, _ b: String) -> Bool {
        used.formUnion([a, b])
        guard let a = checkpoint.tensors[a], let b = checkpoint.tensors[b],
            a.format == b.format, a.shape == b.shape, a.bytes.count == b.bytes.count
        else { return false }
        guard let first = a.bytes.baseAddress, let second = b.bytes.baseAddress else { return true }
        return memcmp(first, second, a.bytes.count) == 0
    }

    private func entry(_ name: String, _ shape: [Int]) throws(WeightError) -> TensorEntry {
        guard let entry = checkpoint.tensors[name] else {
            throw WeightError(tensor: spelled(name), file: nil, reason: .missing)
        }
        used.insert(name)
        guard entry.shape == shape else {
            throw WeightError(
                tensor: spelled(name),
                file: entry.file,
                reason: .shape(expected: shape, found: entry.shape)
            )
        }
        return entry
    }

    private func decode(
        _ entry: TensorEntry,
        into out: Tensor,
        at row: Int,
        rows: Int,
        columns: Int
    ) throws(WeightError) {
        guard let format = entry.format.code else {
            throw WeightError(
                tensor: spelled(entry.name),
                file: entry.file,
                reason: .format(entry.format.rawValue)
            )
        }
        let decoded = tg_decode_rows(
            out.handle,
            Int64(row),
            Int64(rows),
            Int64(columns),
            format,
            entry.bytes.baseAddress,
            Int64(entry.bytes.count),
            Int64(entry.ropePermutedHeads ?? 0)
        )
        try finish(entry, decoded)
    }

    private func pack(_ entry: TensorEntry, into out: PackedWeight, rows: Int) throws(WeightError) {
        let packed = tg_pack_rows(
            out.handle,
            Int64(rows),
            entry.format.code ?? TG_FORMAT_F32,
            entry.bytes.baseAddress,
            Int64(entry.bytes.count),
            Int64(entry.ropePermutedHeads ?? 0)
        )
        try finish(entry, packed)
    }

    /// Gives the entry's pages back and tells of the progress, or throws what went wrong.
    private func finish(_ entry: TensorEntry, _ succeeded: Bool) throws(WeightError) {
        guard succeeded else {
            throw WeightError(
                tensor: spelled(entry.name),
                file: entry.file,
                reason: .decoding(Torch.takeError() ?? "no memory")
            )
        }
        forget(entry.bytes)
        done += entry.bytes.count
        progress(done, checkpoint.totalBytes)
    }

    private func spelled(_ name: String) -> String { checkpoint.spelling(of: name) ?? name }

    /// Takes the pages of a read-only file mapping off this process; reading again would bring them back.
    private func forget(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        let page = sysconf(Int32(_SC_PAGESIZE))
        let start = Int(bitPattern: base) / page * page
        let end = Int(bitPattern: base) + bytes.count
        if let address = UnsafeMutableRawPointer(bitPattern: start) {
            madvise(address, end - start, MADV_DONTNEED)
        }
    }
}

extension TensorFormat {
    /// The decoder's number; nil for formats that hold no weights.
    var code: tg_format? {
        switch self {
        case .float32: TG_FORMAT_F32
        case .float16: TG_FORMAT_F16
        case .bfloat16: TG_FORMAT_BF16
        case .float64: TG_FORMAT_F64
        case .q4_0: TG_FORMAT_Q4_0
        case .q4_1: TG_FORMAT_Q4_1
        case .q5_0: TG_FORMAT_Q5_0
        case .q5_1: TG_FORMAT_Q5_1
        case .q8_0: TG_FORMAT_Q8_0
        case .q4_K: TG_FORMAT_Q4_K
        case .q5_K: TG_FORMAT_Q5_K
        case .q6_K: TG_FORMAT_Q6_K
        default: nil
        }
    }
}
