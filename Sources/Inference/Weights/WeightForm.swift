import CTorch

/// In which form weights of matrix products are kept.
public enum WeightForm: Sendable, Equatable {
    /// In the compute type.
    case dense
    /// Quantised ones as they are stored, where there are kernels for them; the others dense.
    case stored
    /// As `stored`, and what is stored as floats is quantised; embedding and head to 8 bits.
    case quantised(Quantisation)
}

/// A format to quantise weights to while they are read.
public enum Quantisation: String, Sendable, CaseIterable {
    /// 8 bits, a scale each 32 values of a row.
    case int8
    /// 4 bits, scale and minimum each 32 values of a row.
    case int4
    /// Entries of a table of 16 normal quantiles, a scale each 64 values (Dettmers et al. 2023).
    case nf4

    var packing: tg_packing {
        switch self {
        case .int8: TG_PACK_INT8
        case .int4: TG_PACK_INT4
        case .nf4: TG_PACK_NF4
        }
    }
}
