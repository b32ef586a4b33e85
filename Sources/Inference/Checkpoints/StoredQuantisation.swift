public import JSON

/// How a checkpoint's weights are quantised, from `quantization_config` in its `config.json`.
public enum StoredQuantisation: Equatable, Sendable {
    /// Weights are floats, or say themselves what they are (GGUF).
    case none
    /// bitsandbytes: nf4 and fp4 with a state beside each weight, or int8 with a scale a row.
    case bitsandbytes
    /// AWQ, version gemm, 4 bits; `group`: columns that share a scale, nil: all.
    case awq(group: Int?)
    /// GPTQ; `offset` is added to stored zero points (1 in the first version of the format).
    case gptq(bits: Int, group: Int?, offset: Int)
    /// 8-bit floats in tiles of `rows` × `columns` that share a scale; a tile may be larger than a weight.
    case fp8(rows: Int, columns: Int)

    /// Reads the config of a model, or of the text model inside it.
    /// - Throws: `CheckpointError` that names what is not supported.
    public init(_ config: JSONValue) throws(CheckpointError) {
        guard let found = Self.member(config) else {
            self = .none
            return
        }
        func refuse(_ key: String, _ value: String, _ known: String) -> CheckpointError {
            CheckpointError(
                .unsupported,
                file: "config.json",
                "quantization_config: \(key) is \(value), supported: \(known)"
            )
        }
        // What is there and is of another kind is no default.
        func written(_ name: String) -> JSONValue? { found[name].flatMap { $0.isNull ? nil : $0 } }
        func integer(_ names: String..., known: String) throws(CheckpointError) -> Int? {
            for name in names {
                guard let value = written(name) else { continue }
                guard let number = value.int else {
                    throw refuse(name, String(value.text().prefix(40)), known)
                }
                return number
            }
            return nil
        }
        func word(_ name: String, known: String) throws(CheckpointError) -> String? {
            guard let value = written(name) else { return nil }
            guard let text = value.string else {
                throw refuse(name, String(value.text().prefix(40)), known)
            }
            return text
        }
        func group() throws(CheckpointError) -> Int? {
            let known = "-1 or columns"
            guard let size = try integer("group_size", "q_group_size", known: known) else {
                return 128
            }
            guard size == -1 || (1...1_048_576).contains(size) else {
                throw refuse("group_size", "\(size)", known)
            }
            return size == -1 ? nil : size
        }
        let is4Bit = found["load_in_4bit"]?.bool == true || found["_load_in_4bit"]?.bool == true
        let is8Bit = found["load_in_8bit"]?.bool == true || found["_load_in_8bit"]?.bool == true
        let known = "awq, bitsandbytes, fp8 and gptq"
        let method =
            try word("quant_method", known: known)
            ?? (is4Bit || is8Bit ? "bitsandbytes" : "absent")
        switch method.lowercased() {
        case "bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit": self = .bitsandbytes
        case "awq":
            let version = try word("version", known: "gemm")?.lowercased() ?? "gemm"
            guard version == "gemm" else { throw refuse("version", version, "gemm") }
            let bits = try integer("bits", "w_bit", known: "4") ?? 4
            guard bits == 4 else { throw refuse("bits", "\(bits)", "4") }
            self = .awq(group: try group())
        case "gptq":
            let bits = try integer("bits", known: "4 and 8") ?? 4
            guard bits == 4 || bits == 8 else { throw refuse("bits", "\(bits)", "4 and 8") }
            let formats = "gptq and gptq_v2"
            let format = try word("checkpoint_format", known: formats) ?? "gptq"
            guard format == "gptq" || format == "gptq_v2" || format.isEmpty else {
                throw refuse("checkpoint_format", format, formats)
            }
            let offset = format == "gptq_v2" ? 0 : 1
            self = .gptq(bits: bits, group: try group(), offset: offset)
        case "fp8":
            guard let size = found["weight_block_size"], size != .null else {
                self = .fp8(rows: 1_048_576, columns: 1_048_576)
                return
            }
            let sides = size.array?.map { $0.int ?? 0 } ?? []
            guard sides.count == 2, sides.allSatisfy({ (1...1_048_576).contains($0) }) else {
                throw refuse("weight_block_size", "no pair of sizes", "tiles such as [128, 128]")
            }
            self = .fp8(rows: sides[0], columns: sides[1])
        default: throw refuse("quant_method", method, known)
        }
    }
}

extension StoredQuantisation {
    /// Whether `quantize` leaves its codes as they are: those of 8 bits go to 4 where that is wanted.
    ///
    /// bitsandbytes' config does not say how many bits its weights have.
    public func keepsCodes(beside wish: Quantisation) -> Bool {
        switch self {
        case .none: false
        case .fp8, .gptq(bits: 8, _, _): wish == .int8
        case .bitsandbytes, .awq, .gptq: true
        }
    }

    /// Modules that a checkpoint's writer wants left as floats.
    public static func modulesLeftAsFloats(_ config: JSONValue) -> [String] {
        let found = member(config)
        return ["modules_to_not_convert", "llm_int8_skip_modules", "ignored_layers"].flatMap {
            found?[$0]?.array?.compactMap(\.string) ?? []
        }
    }

    /// Whether columns of GPTQ belong to groups in another order than they stand.
    public static func reorders(_ config: JSONValue) -> Bool {
        member(config)?["desc_act"]?.bool == true
    }

    /// What a config says of quantisation, itself or for the text model inside it.
    private static func member(_ config: JSONValue) -> JSONValue? {
        let key = "quantization_config"
        return [config[key], config["text_config"]?[key]].lazy.compactMap { $0 }
            .first { $0.object != nil }
    }

    /// Whether the weight `name` is of one of `modules`: of whole words between the dots.
    public static func isLeft(_ name: String, _ modules: [String]) -> Bool {
        modules.contains { !$0.isEmpty && ".\(name)".contains(".\($0).") }
    }
}

/// What stands beside a weight of 4 bits in a bitsandbytes checkpoint.
public struct BitsAndBytesState: Equatable, Sendable {
    /// Values that share a scale, row after row.
    public let block: Int
    /// The type to which values are rounded: `bfloat16`, `float16` or `float32`.
    public let dtype: String
    /// Rows and columns.
    public let shape: [Int]
    /// `nf4` or `fp4`; nil where it is not said.
    public let kind: String?
    /// Scales that share a scale of their own, and what is added to each; nil where they are floats.
    public let nested: (block: Int, offset: Double)?

    /// Reads the JSON text of a `quant_state` tensor; nil where it is none.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard let json = try? JSONValue.parse(bytes), let block = json["blocksize"]?.int,
            (1...1_048_576).contains(block), let dtype = json["dtype"]?.string,
            let sides = json["shape"]?.array
        else { return nil }
        self.block = block
        self.dtype = dtype
        shape = sides.map { $0.int ?? -1 }
        kind = json["quant_type"].map { $0.string ?? $0.kind }
        if let size = json["nested_blocksize"]?.int, let offset = json["nested_offset"]?.double {
            guard (1...1_048_576).contains(size) else { return nil }
            nested = (size, offset)
        } else {
            nested = nil
        }
    }

    /// Member by member.
    public static func == (a: BitsAndBytesState, b: BitsAndBytesState) -> Bool {
        a.block == b.block && a.dtype == b.dtype && a.shape == b.shape && a.kind == b.kind
            && a.nested?.block == b.nested?.block && a.nested?.offset == b.nested?.offset
    }
}
