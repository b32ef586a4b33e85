/// How a tensor's values are stored: blocks of `blockValues` values in `blockBytes` bytes.
public enum TensorFormat: String, Sendable, CaseIterable {
    /// IEEE single precision.
    case float32 = "F32"
    /// IEEE half precision.
    case float16 = "F16"
    /// The upper half of a float32.
    case bfloat16 = "BF16"
    /// IEEE double precision.
    case float64 = "F64"
    /// 8-bit float, 4 exponent bits.
    case float8e4m3 = "F8_E4M3"
    /// 8-bit float, 5 exponent bits.
    case float8e5m2 = "F8_E5M2"
    /// Signed, 64 bits.
    case int64 = "I64"
    /// Signed, 32 bits.
    case int32 = "I32"
    /// Signed, 16 bits.
    case int16 = "I16"
    /// Signed, 8 bits.
    case int8 = "I8"
    /// Unsigned, 8 bits.
    case uint8 = "U8"
    /// One byte, 0 or 1.
    case bool = "BOOL"
    /// GGUF: 32 values, scale, 4 bits.
    case q4_0 = "Q4_0"
    /// GGUF: 32 values, scale and minimum, 4 bits.
    case q4_1 = "Q4_1"
    /// GGUF: 32 values, scale, 5 bits.
    case q5_0 = "Q5_0"
    /// GGUF: 32 values, scale and minimum, 5 bits.
    case q5_1 = "Q5_1"
    /// GGUF: 32 values, scale, 8 bits.
    case q8_0 = "Q8_0"
    /// GGUF: 256 values in 8 sub-blocks, 4 bits.
    case q4_K = "Q4_K"
    /// GGUF: 256 values in 8 sub-blocks, 5 bits.
    case q5_K = "Q5_K"
    /// GGUF: 256 values in 16 sub-blocks, 6 bits.
    case q6_K = "Q6_K"

    /// Values of a block; 1 for plain formats.
    public var blockValues: Int {
        switch self {
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0: 32
        case .q4_K, .q5_K, .q6_K: 256
        default: 1
        }
    }

    /// Bytes of a block.
    public var blockBytes: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool, .float8e4m3, .float8e5m2: 1
        case .q4_0: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q8_0: 34
        case .q4_K: 144
        case .q5_K: 176
        case .q6_K: 210
        }
    }

    /// The format of a GGUF type number; nil for those that we do not read.
    init?(ggmlType: UInt32) {
        switch ggmlType {
        case 0: self = .float32
        case 1: self = .float16
        case 2: self = .q4_0
        case 3: self = .q4_1
        case 6: self = .q5_0
        case 7: self = .q5_1
        case 8: self = .q8_0
        case 12: self = .q4_K
        case 13: self = .q5_K
        case 14: self = .q6_K
        case 24: self = .int8
        case 25: self = .int16
        case 26: self = .int32
        case 27: self = .int64
        case 28: self = .float64
        case 30: self = .bfloat16
        default: return nil
        }
    }

    /// The longest side of a tensor; an empty one could have any, and those who compute with it would overflow.
    static let longestSide = 1 << 40

    /// Bytes of a tensor of this shape; nil where the numbers overflow or rows are not whole blocks.
    public func byteCount(of shape: [Int]) -> Int? {
        var values = 1
        for side in shape {
            guard (0...Self.longestSide).contains(side) else { return nil }
            let (product, overflow) = values.multipliedReportingOverflow(by: side)
            guard !overflow else { return nil }
            values = product
        }
        guard (shape.last ?? 1) % blockValues == 0, values % blockValues == 0 else { return nil }
        let (bytes, overflow) = (values / blockValues).multipliedReportingOverflow(by: blockBytes)
        return overflow ? nil : bytes
    }
}

/// One tensor of a checkpoint: where its bytes are and what they mean.
public struct TensorEntry: @unchecked Sendable {
    // Sendable: `bytes` points into a read-only mapping that the `Checkpoint` keeps.

    /// The name in Hugging Face's spelling.
    public let name: String
    /// How the values are stored.
    public let format: TensorFormat
    /// Sides, slowest first (torch's order).
    public let shape: [Int]
    /// The stored bytes, as long as the `Checkpoint` lives.
    public let bytes: UnsafeRawBufferPointer
    /// GGUF files of Llama store the rows of q and k in another order; this is the number of heads
    /// over which it has to be undone, nil elsewhere.
    public let ropePermutedHeads: Int?
    /// The file that holds it, for messages.
    public let file: String
}
