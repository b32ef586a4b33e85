public import Checkpoints
import CTorch
import Glibc
public import Torch

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
    private let weights: StoredWeights
    private let skipped: [String]

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
        // An unsupported kind is the registry's error, before anything is read.
        let quantisation = try? StoredQuantisation(checkpoint.config)
        skipped = StoredQuantisation.modulesLeftAsFloats(checkpoint.config)
        weights = StoredWeights(checkpoint: checkpoint, quantisation: quantisation ?? .none)
    }

    /// Whether the checkpoint has the tensor.
    public func has(_ name: String) -> Bool {
        if let invented = checkpoint.invented { return invented.has(name) }
        let codes = StoredWeights.codes(name)
        return checkpoint.tensors[name] != nil
            || codes.map { checkpoint.tensors[$0] != nil } ?? false
    }

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
        guard let format = entry.format.code else {
            throw WeightError(
                tensor: spelled(entry.name),
                file: entry.file,
                reason: .format(entry.format.rawValue)
            )
        }
        let out = Tensor.empty([rows, columns], dtype ?? self.dtype)
        let weight = StoredWeight(entries: [entry], rows: rows, columns: columns, format: format)
        try decode(weight, into: out, at: 0)
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
        let found = try zip(names, rows).map { try stored($0, rows: $1, columns: columns) }
        let tail = columns.map { [$0] } ?? []
        let out = Tensor.empty([rows.reduce(0, +)] + tail, dtype ?? self.dtype)
        var at = 0
        for weight in found {
            try decode(weight, into: out, at: at)
            at += weight.rows
        }
        return out
    }

    /// Several tensors `[rows[i], columns]` one below the other, in the reader's form.
    ///
    /// - Throws: `WeightError`.
    public func matrix(
        _ names: [String],
        rows: [Int],
        columns: Int,
        role: MatrixRole = .layer
    ) throws -> WeightMatrix {
        let found = try zip(names, rows).map { try stored($0, rows: $1, columns: columns) }
        let packings = zip(names, found).map { packing(of: $1, name: $0, role: role) }
        guard !packings.contains(where: { $0 == nil }) else {
            return .dense(try stacked(names, rows: rows, columns: columns))
        }
        let out = PackedWeight(rows: rows.reduce(0, +), columns: columns)
        for (weight, how) in zip(found, packings) {
            let packed = weight.withSource {
                tg_pack_source(out.handle, Int64(weight.rows), $0, how ?? TG_PACK_STORED)
            }
            try finish(weight.entries, packed)
        }
        return .packed(out)
    }

    /// How the reader's form keeps a weight; nil: dense.
    private func packing(of weight: StoredWeight, name: String, role: MatrixRole) -> tg_packing? {
        func fits(_ packing: tg_packing) -> Bool {
            weight.withSource { tg_packs_source($0, Int64(weight.columns), packing) }
        }
        guard form != .dense else { return nil }
        let keepsCodes = !weight.isFloat && fits(TG_PACK_STORED)
        let stored = keepsCodes ? TG_PACK_STORED : nil
        guard case .quantised(let wanted) = form,
            !(role == .layer && StoredQuantisation.isLeft(name, skipped)),
            let kind = role.limit(wanted), fits(kind.packing),
            !keepsCodes || (weight.isWide && kind != .int8)
        else { return stored }
        return kind.packing
    }

    /// The weight `name` of exactly `[rows, columns]`, however it is stored.
    private func stored(_ name: String, rows: Int, columns: Int?) throws(WeightError)
        -> StoredWeight
    {
        if let columns, let weight = try weights.quantised(name, rows: rows, columns: columns) {
            used.formUnion(weight.entries.map(\.name))
            return weight
        }
        let entry = try entry(name, [rows] + (columns.map { [$0] } ?? []))
        guard let format = entry.format.code else {
            throw WeightError(
                tensor: spelled(entry.name),
                file: entry.file,
                reason: .format(entry.format.rawValue)
            )
        }
        return StoredWeight(entries: [entry], rows: rows, columns: columns ?? 1, format: format)
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
        let invented = checkpoint.invented?.entry(name, shape)
        guard let entry = invented ?? checkpoint.tensors[name] else {
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

    private func decode(_ weight: StoredWeight, into out: Tensor, at row: Int) throws(WeightError) {
        let (count, columns) = (Int64(weight.rows), Int64(weight.columns))
        let decoded = weight.withSource { source in
            // What needs no scales has a decoder without copies.
            guard weight.scales.isEmpty else {
                return tg_decode_source(out.handle, Int64(row), count, columns, source)
            }
            return tg_decode_rows(
                out.handle,
                Int64(row),
                count,
                columns,
                weight.format,
                source.pointee.data,
                source.pointee.bytes,
                source.pointee.permuted_heads
            )
        }
        try finish(weight.entries, decoded)
    }

    /// Gives the tensors' pages back and tells of the progress, or throws what went wrong.
    private func finish(_ entries: [TensorEntry], _ succeeded: Bool) throws(WeightError) {
        guard succeeded else {
            throw WeightError(
                tensor: spelled(entries.first?.name ?? ""),
                file: entries.first?.file,
                reason: .decoding(Torch.takeError() ?? "no memory")
            )
        }
        for entry in entries {
            forget(entry.bytes)
            done += entry.bytes.count
        }
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

extension Quantisation {
    var packing: tg_packing {
        switch self {
        case .int8: TG_PACK_INT8
        case .int4: TG_PACK_INT4
        case .nf4: TG_PACK_NF4
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
