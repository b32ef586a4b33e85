// Where a weight's rows lie in a checkpoint, and what its codes stand for.
//
// The names beside `x.weight` are those of each format's own writer: bitsandbytes, transformers' FP8, AWQ, GPTQ.

import CTorch
import Checkpoints
import Torch

/// A weight `[rows, columns]` as stored, with what its values are computed from.
struct StoredWeight {
    /// The tensors that it is made of; the first one holds the codes or values.
    let entries: [TensorEntry]
    let rows, columns: Int
    var format: tg_format
    var rounded = TG_F32
    var scales: [Float] = []
    var table: [Float] = []
    var zeros: [Int16] = []
    var groups: [Int32] = []
    var blockRows = 0
    var blockColumns = 0

    /// Calls `body` with the C form, which is valid within it only.
    func withSource<Value>(_ body: (UnsafePointer<tg_source>) -> Value) -> Value {
        scales.withUnsafeBufferPointer { scales in
            table.withUnsafeBufferPointer { table in
                zeros.withUnsafeBufferPointer { zeros in
                    groups.withUnsafeBufferPointer { groups in
                        var source = tg_source()
                        source.format = format
                        source.rounded = rounded
                        source.data = entries.first.flatMap {
                            UnsafeRawPointer($0.bytes.baseAddress)
                        }
                        source.bytes = Int64(entries.first?.bytes.count ?? 0)
                        source.permuted_heads = Int64(entries.first?.ropePermutedHeads ?? 0)
                        source.scales = scales.isEmpty ? nil : scales.baseAddress
                        source.scale_count = Int64(scales.count)
                        source.table = table.count == 16 ? table.baseAddress : nil
                        source.zeros = zeros.isEmpty ? nil : zeros.baseAddress
                        source.groups = groups.isEmpty ? nil : groups.baseAddress
                        source.block_rows = Int64(blockRows)
                        source.block_columns = Int64(blockColumns)
                        return withUnsafePointer(to: source, body)
                    }
                }
            }
        }
    }

    /// Whether the stored values are plain floats.
    var isFloat: Bool { format.rawValue <= TG_FORMAT_F64.rawValue }

    /// Whether a checkpoint for libraries of Python has 8 bits where it could have had 4.
    var isWide: Bool { [TG_FORMAT_F8_E4M3, TG_FORMAT_INT8, TG_FORMAT_GPTQ8].contains(format) }
}

/// Finds weights in a checkpoint by the names of each format.
struct StoredWeights {
    let checkpoint: Checkpoint
    let quantisation: StoredQuantisation

    /// The tensor that holds the codes of the weight `name`, where its own name is another.
    static func codes(_ name: String) -> String? {
        name.hasSuffix(".weight") ? name.dropLast(6) + "qweight" : nil
    }

    /// The weight `name` of exactly `[rows, columns]`; nil: nothing but a plain tensor of that name.
    /// - Throws: `WeightError`.
    func quantised(_ name: String, rows: Int, columns: Int) throws(WeightError) -> StoredWeight? {
        guard name.hasSuffix(".weight") else { return nil }
        let base = String(name.dropLast(7))
        let tensors = checkpoint.tensors
        if let entry = tensors[name] {
            for kind in ["nf4", "fp4"] {
                guard let state = tensors["\(name).quant_state.bitsandbytes__\(kind)"] else {
                    continue
                }
                return try bitsandbytes(entry, state, kind, rows: rows, columns: columns)
            }
            if entry.format == .int8, let scales = tensors["\(base).SCB"] {
                try expect(entry, [rows, columns])
                if let order = tensors["\(base).weight_format"], order.bytes.first != 0 {
                    throw wrong(order, "rows are in an order that only old GPUs read")
                }
                var weight = StoredWeight(
                    entries: [entry, scales],
                    rows: rows,
                    columns: columns,
                    format: TG_FORMAT_INT8
                )
                weight.scales = try floats(scales, count: rows)
                return weight
            }
            if entry.format == .float8e4m3 {
                return try float8(entry, rows: rows, columns: columns)
            }
            // Two answers to one question: neither is the one.
            if let other = tensors["\(base).qweight"] ?? tensors["\(name)_scale_inv"] {
                throw wrong(other, "stands beside a weight in \(entry.format.rawValue)")
            }
            return nil
        }
        guard let codes = tensors["\(base).qweight"] else { return nil }
        switch quantisation {
        case .awq(let group):
            try expect(codes, [columns, rows / 8])
            return try zeroed(
                codes,
                base,
                rows,
                columns,
                TG_FORMAT_AWQ4,
                group: group,
                bits: 4,
                offset: 0
            )
        case .gptq(let bits, let group, let offset):
            try expect(codes, [columns * bits / 32, rows])
            let format = bits == 4 ? TG_FORMAT_GPTQ4 : TG_FORMAT_GPTQ8
            return try zeroed(
                codes,
                base,
                rows,
                columns,
                format,
                group: group,
                bits: bits,
                offset: offset
            )
        default: throw wrong(codes, "packed codes without a quantization_config of awq or gptq")
        }
    }

    private func bitsandbytes(
        _ entry: TensorEntry,
        _ stateEntry: TensorEntry,
        _ kind: String,
        rows: Int,
        columns: Int
    ) throws(WeightError) -> StoredWeight {
        guard let state = BitsAndBytesState(stateEntry.bytes) else {
            throw wrong(stateEntry, "is no state of bitsandbytes")
        }
        guard state.kind == nil || state.kind == kind else {
            throw wrong(stateEntry, "its quant_type is \(state.kind ?? ""), its name says \(kind)")
        }
        guard state.shape == [rows, columns] else {
            throw WeightError(
                tensor: entry.name,
                file: entry.file,
                reason: .shape(expected: [rows, columns], found: state.shape)
            )
        }
        let blocks = (rows * columns + state.block - 1) / state.block
        let absmax = try sibling(entry, "absmax")
        let map = try sibling(entry, "quant_map")
        var used = [entry, stateEntry, absmax, map]
        var weight = StoredWeight(
            entries: used,
            rows: rows,
            columns: columns,
            format: TG_FORMAT_TABLE4
        )
        weight.table = try floats(map, count: 16)
        guard weight.table.allSatisfy(\.isFinite) else {
            throw wrong(map, "is not 16 finite floats")
        }
        weight.blockColumns = state.block
        switch state.dtype {
        case "bfloat16": weight.rounded = TG_BF16
        case "float16": weight.rounded = TG_F16
        case "float32": break
        default: throw wrong(stateEntry, "the dtype \(state.dtype) is not supported")
        }
        if let nested = state.nested {
            guard absmax.format == .uint8, absmax.bytes.count == blocks else {
                throw wrong(
                    absmax,
                    "\(absmax.bytes.count) bytes of nested scales, expected \(blocks)"
                )
            }
            let outerEntry = try sibling(entry, "nested_absmax")
            let mapEntry = try sibling(entry, "nested_quant_map")
            let outer = try floats(outerEntry, count: (blocks + nested.block - 1) / nested.block)
            let values = try floats(mapEntry, count: 256)
            let offset = Float(nested.offset)
            weight.scales = absmax.bytes.enumerated().map { index, code in
                values[Int(code)] * outer[index / nested.block] + offset
            }
            used += [outerEntry, mapEntry]
        } else {
            weight.scales = try floats(absmax, count: blocks)
        }
        return weight
    }

    private func float8(_ entry: TensorEntry, rows: Int, columns: Int) throws(WeightError)
        -> StoredWeight
    {
        guard case .fp8(let blockRows, let blockColumns) = quantisation else {
            throw wrong(entry, "8-bit floats without a quantization_config of fp8")
        }
        try expect(entry, [rows, columns])
        let scales = try sibling(entry, "", suffix: "_scale_inv")
        let tiles = [
            (rows + blockRows - 1) / blockRows, (columns + blockColumns - 1) / blockColumns,
        ]
        // One scale for all may have no axes.
        if tiles != [1, 1] || scales.bytes.count != scales.format.blockBytes {
            try expect(scales, tiles)
        }
        var weight = StoredWeight(
            entries: [entry, scales],
            rows: rows,
            columns: columns,
            format: TG_FORMAT_F8_E4M3
        )
        weight.scales = try floats(scales, count: tiles[0] * tiles[1])
        weight.blockRows = blockRows
        weight.blockColumns = blockColumns
        return weight
    }

    /// Codes with zero points: AWQ's zeros are interleaved as its codes, GPTQ's in plain order.
    private func zeroed(
        _ codes: TensorEntry,
        _ base: String,
        _ rows: Int,
        _ columns: Int,
        _ format: tg_format,
        group: Int?,
        bits: Int,
        offset: Int
    ) throws(WeightError) -> StoredWeight {
        guard let zeros = checkpoint.tensors["\(base).qzeros"],
            let scales = checkpoint.tensors["\(base).scales"]
        else { throw wrong(codes, "has no qzeros and scales beside it") }
        let size = group ?? columns
        let groups = (columns + size - 1) / size
        let perWord = 32 / bits
        try expect(scales, [groups, rows])
        for words in [codes, zeros] where words.format != .int32 {
            throw wrong(words, "is no int32")
        }
        try expect(zeros, [groups, rows / perWord])
        guard rows % perWord == 0, columns % perWord == 0 else {
            throw wrong(codes, "\(rows) rows and \(columns) columns do not fill words")
        }
        var weight = StoredWeight(
            entries: [codes, zeros, scales],
            rows: rows,
            columns: columns,
            format: format
        )
        weight.blockColumns = size
        weight.rounded =
            scales.format == .float16 ? TG_F16 : scales.format == .bfloat16 ? TG_BF16 : TG_F32
        weight.scales = try floats(scales, count: groups * rows)
        let order = format == TG_FORMAT_AWQ4 ? [0, 4, 1, 5, 2, 6, 3, 7] : Array(0..<perWord)
        let mask = (1 << bits) - 1
        weight.zeros = [Int16](unsafeUninitializedCapacity: groups * rows) { buffer, count in
            for index in 0..<groups * rows {
                let word = zeros.bytes.loadUnaligned(
                    fromByteOffset: index / perWord * 4,
                    as: UInt32.self
                )
                let code = Int(word) >> (bits * order[index % perWord]) & mask
                buffer[index] = Int16(code + offset)
            }
            count = groups * rows
        }
        if let order = checkpoint.tensors["\(base).g_idx"], format != TG_FORMAT_AWQ4 {
            guard order.format == .int32, order.bytes.count == 4 * columns else {
                throw wrong(order, "is not one int32 a column")
            }
            let listed = (0..<columns).map {
                order.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self)
            }
            // The plain order needs no list.
            if listed.enumerated().contains(where: { Int($1) != $0 / size }) {
                weight.groups = listed
            }
        } else if groups > 1, format != TG_FORMAT_AWQ4,
            StoredQuantisation.reorders(checkpoint.config)
        {
            throw wrong(codes, "has no g_idx beside it, and desc_act is true")
        }
        return weight
    }

    private func sibling(_ entry: TensorEntry, _ name: String, suffix: String? = nil)
        throws(WeightError) -> TensorEntry
    {
        let full = entry.name + (suffix ?? ".\(name)")
        guard let found = checkpoint.tensors[full] else {
            throw WeightError(tensor: full, file: entry.file, reason: .missing)
        }
        return found
    }

    private func floats(_ entry: TensorEntry, count: Int) throws(WeightError) -> [Float] {
        guard let format = entry.format.code, format.rawValue <= TG_FORMAT_F64.rawValue,
            entry.bytes.count == count * entry.format.blockBytes
        else { throw wrong(entry, "is not \(count) floats") }
        let out = Tensor.emptyOnCPU([1, count], .float32)
        let bytes = Int64(entry.bytes.count)
        let base = entry.bytes.baseAddress
        guard tg_decode_rows(out.handle, 0, 1, Int64(count), format, base, bytes, 0) else {
            throw wrong(entry, Torch.takeError() ?? "no memory")
        }
        return out.floats
    }

    private func expect(_ entry: TensorEntry, _ shape: [Int]) throws(WeightError) {
        guard entry.shape == shape else {
            throw WeightError(
                tensor: entry.name,
                file: entry.file,
                reason: .shape(expected: shape, found: entry.shape)
            )
        }
    }

    private func wrong(_ entry: TensorEntry, _ message: String) -> WeightError {
        WeightError(tensor: entry.name, file: entry.file, reason: .decoding(message))
    }
}
