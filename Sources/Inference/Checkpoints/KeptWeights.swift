/// What a checkpoint's weights take once they are loaded in a form, from headers alone.
///
/// Follows `WeightReader` and the layout of its kernels (`CTorch/quant.hpp`); tests hold it to both.
struct KeptWeights {
    /// Bytes in memory.
    private(set) var bytes = 0
    /// What a step reads of them.
    private(set) var step = StepWeights()
    /// What most values of the text model's layers are kept as, such as `nf4` or `q4_1`; nil: dense.
    private(set) var kind: String?

    private struct Matrix {
        let rows, columns: Int
        /// nil: dense.
        let layout: PackedLayout?
        let kind: String
        /// GPTQ's groups of columns, where they are not in order.
        var groups: [Int32] = []
    }

    /// `size`: bytes of a dense value.
    init(of checkpoint: Checkpoint, form: WeightForm, size: Int) {
        let source = Source(checkpoint: checkpoint, form: form)
        var stacks: [String: [Matrix]] = [:]
        var embedding = StepWeights.Share()
        func count(_ name: String, _ values: Int, _ taken: Int) {
            bytes += taken
            switch Source.role(name) {
            case .layer: step.layers.add(values, taken)
            case .table where name.contains("lm_head."): step.head.add(values, taken)
            case .table: embedding.add(values, taken)
            case .tower: break
            }
        }
        func count(_ name: String, dense shape: [Int]) {
            // Every tensor lies in a file: neither its values nor their sum overflow.
            let values = shape.reduce(1, *)
            if shape.count > 1 {
                count(name, values, values * size)
            } else {
                bytes += values * size
            }
        }
        // Those that are made up have shapes once something has asked for them.
        for (name, shape) in checkpoint.invented?.shapes ?? [:] {
            if name.hasSuffix(".weight"), shape.count == 2 {
                let matrix = source.floats(name, shape[0], shape[1])
                stacks[Source.stack(name), default: []].append(matrix)
            } else {
                count(name, dense: shape)
            }
        }
        for (name, entry) in checkpoint.tensors where !Source.isBeside(name) {
            if let matrix = source.matrix(name, entry) {
                stacks[Source.stack(name), default: []].append(matrix)
            } else {
                count(name, dense: entry.shape)
            }
        }
        var values: [String: Int] = [:]
        for (name, stack) in stacks {
            let isLayer = Source.role(name) == .layer
            // What is computed as one matrix is packed as a whole or not at all.
            let isPacked = stack.allSatisfy { $0.layout != nil }
            var orders: Set<[Int32]> = []
            for matrix in stack {
                let all = matrix.rows * matrix.columns
                let packed = isPacked ? matrix.layout : nil
                var taken = packed?.bytes(rows: matrix.rows, columns: matrix.columns) ?? all * size
                // Matrices of one order of columns share its list.
                if let packed, !matrix.groups.isEmpty, orders.insert(matrix.groups).inserted {
                    taken += packed.held(matrix.columns) * 4
                }
                count(name, all, taken)
                if isLayer { values[packed == nil ? "" : matrix.kind, default: 0] += all }
            }
        }
        if step.head.values == 0 { step.head = embedding }
        let most = values.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
        kind = most.isEmpty ? nil : most
    }

    /// Where a matrix comes from, and what becomes of it.
    private struct Source {
        let checkpoint: Checkpoint
        let form: WeightForm
        let quantisation: StoredQuantisation
        let skipped: [String]

        init(checkpoint: Checkpoint, form: WeightForm) {
            self.checkpoint = checkpoint
            self.form = form
            quantisation = (try? StoredQuantisation(checkpoint.config)) ?? .none
            skipped = StoredQuantisation.modulesLeftAsFloats(checkpoint.config)
        }

        /// Whether a tensor belongs to another one's codes.
        static func isBeside(_ name: String) -> Bool {
            name.contains(".weight.") || name.hasSuffix(".SCB") || name.hasSuffix("_scale_inv")
                || [".qzeros", ".scales", ".g_idx", ".weight_format", ".activation_scale"]
                    .contains { name.hasSuffix($0) }
        }

        /// What a matrix of this name is to its model.
        static func role(_ name: String) -> MatrixRole {
            if name.contains("visual.") || name.contains("vision_tower.") { return .tower }
            return name.contains("embed_tokens.") || name.contains("lm_head.") ? .table : .layer
        }

        /// The layers that are computed as one have one name here.
        static func stack(_ name: String) -> String {
            for part in [".q_proj", ".k_proj", ".v_proj", ".gate_proj", ".up_proj"]
            where name.contains(part) {
                return name.replacing(part, with: part.utf8.count == 7 ? ".qkv" : ".gate_up")
            }
            return name
        }

        func matrix(_ name: String, _ entry: TensorEntry) -> Matrix? {
            if name.hasSuffix(".qweight") { return packedWords(name, entry) }
            guard name.hasSuffix(".weight") else { return nil }
            for kind in ["nf4", "fp4"] {
                guard let state = checkpoint.tensors["\(name).quant_state.bitsandbytes__\(kind)"]
                else { continue }
                return table(name, entry, BitsAndBytesState(state.bytes), kind)
            }
            guard entry.shape.count == 2 else { return nil }
            let (rows, columns) = (entry.shape[0], entry.shape[1])
            if let layout = PackedLayout(entry.format) {
                let kind = entry.format.rawValue.lowercased()
                return coded(name, rows, columns, layout, kind)
            }
            let hasRows = checkpoint.tensors["\(name.dropLast(7)).SCB"] != nil
            if entry.format == .int8, hasRows {
                return coded(name, rows, columns, .row, "int8", isWide: true)
            }
            if entry.format == .float8e4m3, case .fp8(_, let tile) = quantisation {
                let isWhole = tile >= columns || tile % 32 == 0
                let layout = PackedLayout.float8(group: min(tile, columns) / 32)
                return coded(name, rows, columns, isWhole ? layout : nil, "fp8", isWide: true)
            }
            return floats(name, rows, columns)
        }

        /// AWQ and GPTQ: codes in words of 32 bits.
        private func packedWords(_ name: String, _ entry: TensorEntry) -> Matrix? {
            guard entry.shape.count == 2 else { return nil }
            let base = name.dropLast(8)
            let isHalf = checkpoint.tensors["\(base).scales"]?.format == .float16
            func layout(_ bits: Int, _ group: Int) -> PackedLayout? {
                isHalf && group % 32 == 0 ? .zeros(bits: bits, group: group / 32) : nil
            }
            switch quantisation {
            case .awq(let group):
                let (rows, columns) = (entry.shape[1] * 8, entry.shape[0])
                return coded(name, rows, columns, layout(4, group ?? columns), "awq")
            case .gptq(let bits, let group, _):
                let (rows, columns) = (entry.shape[1], entry.shape[0] * 32 / bits)
                let size = max(1, group ?? columns)
                let kind = bits == 4 ? "gptq" : "gptq8"
                let groups = order(checkpoint.tensors["\(base).g_idx"], size)
                let kept =
                    groups.isEmpty
                    ? layout(bits, size)
                    : isHalf ? .ordered(bits: bits, groups: groups) : nil
                var matrix = coded(name, rows, columns, kept, kind, isWide: bits == 8)
                if case .ordered = matrix.layout { matrix.groups = groups }
                return matrix
            default: return nil
            }
        }

        /// The group of each column; none where its place says it.
        private func order(_ list: TensorEntry?, _ size: Int) -> [Int32] {
            let groups = (0..<(list?.bytes.count ?? 0) / 4).map {
                list?.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self) ?? 0
            }
            return groups.enumerated().allSatisfy { Int($1) == $0 / size } ? [] : groups
        }

        /// bitsandbytes' 4 bits: the state beside them knows the shape.
        private func table(
            _ name: String,
            _ entry: TensorEntry,
            _ state: BitsAndBytesState?,
            _ kind: String
        ) -> Matrix {
            let all = entry.bytes.count * 2
            // Another shape than the codes have is refused when it is loaded.
            guard let state, state.shape.count == 2, let columns = state.shape.last, columns > 0,
                all % columns == 0
            else { return Matrix(rows: 1, columns: all, layout: nil, kind: "") }
            let isWhole = state.block % 64 == 0 && columns % state.block == 0
            return coded(name, all / columns, columns, isWhole ? .table : nil, kind)
        }

        private func coded(
            _ name: String,
            _ rows: Int,
            _ columns: Int,
            _ layout: PackedLayout?,
            _ kind: String,
            isWide: Bool = false
        ) -> Matrix {
            guard form != .dense else { return dense(rows, columns) }
            guard let layout, layout.holds(columns) else { return floats(name, rows, columns) }
            // Codes of 8 bits go to 4 where that is asked for.
            if isWide, case .quantised(let wanted) = form, Self.role(name).limit(wanted) != .int8 {
                let narrow = floats(name, rows, columns)
                if narrow.layout != nil { return narrow }
            }
            return Matrix(rows: rows, columns: columns, layout: layout, kind: kind)
        }

        func floats(_ name: String, _ rows: Int, _ columns: Int) -> Matrix {
            guard case .quantised(let wanted) = form else { return dense(rows, columns) }
            let role = Self.role(name)
            let isLeft = role == .layer && StoredQuantisation.isLeft(name, skipped)
            guard let kind = isLeft ? nil : role.limit(wanted) else { return dense(rows, columns) }
            let layout: PackedLayout =
                switch kind {
                case .int8: .plain(bits: 8)
                case .int4: .minimum(bits: 4)
                case .nf4: .table
                }
            guard layout.holds(columns) else { return dense(rows, columns) }
            return Matrix(rows: rows, columns: columns, layout: layout, kind: kind.rawValue)
        }

        private func dense(_ rows: Int, _ columns: Int) -> Matrix {
            Matrix(rows: rows, columns: columns, layout: nil, kind: "")
        }
    }
}

/// How a quantised matrix lies in memory.
enum PackedLayout {
    case plain(bits: Int)
    case minimum(bits: Int)
    case nested(bits: Int)
    case halved
    /// Blocks of 32 that share a scale.
    case zeros(bits: Int, group: Int)
    /// The same, in columns by the groups that are listed, each filled up to whole blocks.
    case ordered(bits: Int, groups: [Int32])
    case table
    case row
    case float8(group: Int)

    /// That of a GGUF format; nil for others.
    init?(_ format: TensorFormat) {
        switch format {
        case .q4_0: self = .plain(bits: 4)
        case .q5_0: self = .plain(bits: 5)
        case .q8_0: self = .plain(bits: 8)
        case .q4_1: self = .minimum(bits: 4)
        case .q5_1: self = .minimum(bits: 5)
        case .q4_K: self = .nested(bits: 4)
        case .q5_K: self = .nested(bits: 5)
        case .q6_K: self = .halved
        default: return nil
        }
    }

    /// Whether rows of `columns` are whole blocks.
    func holds(_ columns: Int) -> Bool {
        if case .table = self { return columns > 0 && columns % 64 == 0 }
        return columns > 0 && columns % 32 == 0 && held(columns) <= columns + columns / 4
    }

    /// Columns as they lie.
    func held(_ columns: Int) -> Int {
        guard case .ordered(_, let groups) = self else { return columns }
        return Self.starts(of: groups).last ?? columns
    }

    /// Where groups start, if each is filled up to whole blocks, and where the last one ends.
    private static func starts(of groups: [Int32]) -> [Int] {
        var counts: [Int32: Int] = [:]
        for group in groups { counts[group, default: 0] += 1 }
        return counts.sorted { $0.key < $1.key }.reduce(into: [0]) { starts, group in
            starts.append((starts.last ?? 0) + (group.value + 31) / 32 * 32)
        }
    }

    /// Tiles of 16 rows, blocks of 32 columns.
    func bytes(rows: Int, columns: Int) -> Int {
        let blocks = held(columns) / 32
        let wholes = (blocks + 7) / 8
        func groups(_ size: Int) -> Int { size > 0 ? (blocks + size - 1) / size : 1 }
        let (bits, factors): (Int, Int) =
            switch self {
            case .plain(let bits): (bits, blocks * 32)
            case .minimum(let bits): (bits, blocks * 64)
            case .nested(let bits): (bits, wholes * 64 + blocks * 32)
            case .halved: (6, wholes * 32 + blocks * 32)
            case .zeros(let bits, let group): (bits, groups(group) * 48)
            case .ordered(let bits, let list):
                (bits, groups(Self.starts(of: list).dropLast().reduce(0, gcd) / 32) * 48)
            case .table: (4, (blocks + 1) / 2 * 64)
            case .row: (8, 64)
            case .float8(let group): (8, groups(group) * 64)
            }
        return ((rows + 15) / 16 * (blocks * 64 * bits + factors) + 63) / 64 * 64
    }

    private func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }
}
