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
        let nested = config["text_config"]?["quantization_config"]
        guard let found = config["quantization_config"] ?? nested, found.object != nil else {
            self = .none
            return
        }
        func integer(_ names: String...) -> Int? { names.lazy.compactMap { found[$0]?.int }.first }
        func refuse(_ key: String, _ value: String, _ known: String) -> CheckpointError {
            CheckpointError(
                .unsupported,
                file: "config.json",
                "quantization_config: \(key) is \(value), supported: \(known)"
            )
        }
        func group() throws(CheckpointError) -> Int? {
            guard let size = integer("group_size", "q_group_size") else { return 128 }
            guard size == -1 || (1...1_048_576).contains(size) else {
                throw refuse("group_size", "\(size)", "-1 or columns")
            }
            return size == -1 ? nil : size
        }
        let is4Bit = found["load_in_4bit"]?.bool == true || found["_load_in_4bit"]?.bool == true
        let is8Bit = found["load_in_8bit"]?.bool == true || found["_load_in_8bit"]?.bool == true
        let method = found["quant_method"]?.string ?? (is4Bit || is8Bit ? "bitsandbytes" : "absent")
        switch method.lowercased() {
        case "bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit": self = .bitsandbytes
        case "awq":
            let version = found["version"]?.string?.lowercased() ?? "gemm"
            guard version == "gemm" else { throw refuse("version", version, "gemm") }
            let bits = integer("bits", "w_bit") ?? 4
            guard bits == 4 else { throw refuse("bits", "\(bits)", "4") }
            self = .awq(group: try group())
        case "gptq":
            let bits = integer("bits") ?? 4
            guard bits == 4 || bits == 8 else { throw refuse("bits", "\(bits)", "4 and 8") }
            let format = found["checkpoint_format"]?.string ?? "gptq"
            guard format == "gptq" || format == "gptq_v2" || format.isEmpty else {
                throw refuse("checkpoint_format", format, "gptq and gptq_v2")
            }
            let offset = format == "gptq_v2" ? 0 : 1
            self = .gptq(bits: bits, group: try group(), offset: offset)
        case "fp8":
            guard let size = found["weight_block_size"], size != .null else {
                self = .fp8(rows: 1_048_576, columns: 1_048_576)
                return
            }
            let sides = size.array?.compactMap(\.int) ?? []
            guard sides.count == 2, sides.allSatisfy({ (1...1_048_576).contains($0) }) else {
                throw refuse("weight_block_size", "no pair of sizes", "tiles such as [128, 128]")
            }
            self = .fp8(rows: sides[0], columns: sides[1])
        default: throw refuse("quant_method", method, "awq, bitsandbytes, fp8 and gptq")
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
        let nested = config["text_config"]?["quantization_config"]
        let found = config["quantization_config"] ?? nested
        return ["modules_to_not_convert", "llm_int8_skip_modules"].flatMap {
            found?[$0]?.array?.compactMap(\.string) ?? []
        }
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
        shape = sides.compactMap(\.int)
        if let size = json["nested_blocksize"]?.int, let offset = json["nested_offset"]?.double {
            guard (1...1_048_576).contains(size) else { return nil }
            nested = (size, offset)
        } else {
            nested = nil
        }
    }

    /// Member by member.
    public static func == (a: BitsAndBytesState, b: BitsAndBytesState) -> Bool {
        a.block == b.block && a.dtype == b.dtype && a.shape == b.shape
            && a.nested?.block == b.nested?.block && a.nested?.offset == b.nested?.offset
    }
}
