package import CTorch

/// A handle of one libtorch tensor.
///
/// Used on one thread; operations never throw (see `Torch.checked`).
public final class Tensor {
    /// The handle; nil is the undefined tensor that failed operations answer.
    package let handle: tg_tensor?

    /// Owns `handle`.
    package init(_ handle: tg_tensor?) { self.handle = handle }

    deinit { tg_free(handle) }

    /// The element types that models compute in.
    public enum DType: String, Sendable, CaseIterable {
        case float32, bfloat16, float16

        /// Bytes an element.
        public var size: Int { self == .float32 ? 4 : 2 }

        package var code: tg_dtype {
            switch self {
            case .float32: TG_F32
            case .bfloat16: TG_BF16
            case .float16: TG_F16
            }
        }
    }

    /// The tensor that failed operations answer.
    public static var undefined: Tensor { Tensor(nil) }

    /// Whether this is a real tensor.
    public var isDefined: Bool { handle != nil }

    /// Elements of unknown value.
    public static func empty(_ shape: [Int], _ dtype: DType) -> Tensor {
        Tensor(tg_empty(dtype.code, shape.map(Int64.init), Int32(shape.count)))
    }

    /// Zeros in address space of their own, of any size; memory counts only as it is written.
    public static func reserved(_ shape: [Int], _ dtype: DType) -> Tensor {
        Tensor(tg_reserve(dtype.code, shape.map(Int64.init), Int32(shape.count)))
    }

    /// Zeros.
    public static func zeros(_ shape: [Int], _ dtype: DType) -> Tensor {
        Tensor(tg_zeros(dtype.code, shape.map(Int64.init), Int32(shape.count)))
    }

    /// A float32 tensor of `values` in row order; their number must be that of the shape.
    public convenience init(_ values: [Float], shape: [Int]) {
        var count = 1
        for size in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            count = overflow || size < 0 ? -1 : product
            if count < 0 { break }
        }
        guard count == values.count else {
            Torch.fail("\(values.count) values for the shape \(shape)")
            self.init(nil)
            return
        }
        self.init(tg_from_floats(values, shape.map(Int64.init), Int32(shape.count)))
    }

    /// Sizes of the axes; empty for the undefined tensor.
    public var shape: [Int] { (0..<tg_rank(handle)).map { Int(tg_size(handle, $0)) } }

    /// Number of elements; 0 for the undefined tensor.
    public var count: Int { handle == nil ? 0 : shape.reduce(1, *) }

    /// The element type; nil for the undefined tensor and other types.
    public var dtype: DType? {
        DType.allCases.first { Int32($0.code.rawValue) == tg_dtype_of(handle) }
    }

    /// All elements as float32 in row order; empty for the undefined tensor.
    public var floats: [Float] {
        let count = self.count
        return [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            guard let base = buffer.baseAddress, tg_copy_out(handle, base, Int64(count)) else {
                return
            }
            filled = count
        }
    }

    /// The first element's address where the tensor is dense and on the CPU.
    package var data: UnsafeMutableRawPointer? { tg_data(handle) }
}
