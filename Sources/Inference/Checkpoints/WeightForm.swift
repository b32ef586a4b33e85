/// In which form weights of matrix products are kept.
public enum WeightForm: Sendable, Equatable {
    /// In the compute type.
    case dense
    /// Quantised ones as they are stored, where there are kernels for them; the others dense.
    case stored
    /// As `stored`, and what is stored as floats is quantised; embedding and head to 8 bits.
    case quantised(Quantisation)

    /// The form for the settings' words: `dtype`, and `none`, `nf4`, `int8` or `int4`.
    ///
    /// Who names a type gets it, `auto` keeps what is quantised; nil for another word of `quantize`.
    public init?(dtype: String, quantize: String = "none") {
        if quantize == "none" {
            self = dtype == "auto" ? .stored : .dense
        } else if let quantisation = Quantisation(rawValue: quantize) {
            self = .quantised(quantisation)
        } else {
            return nil
        }
    }

    /// The type to compute in: `bnb`, where it names one and weights are kept as bitsandbytes' checkpoints
    /// or `nf4` have them, else `dtype`.
    public func computeWish(_ dtype: String, bnb: String, _ stored: StoredQuantisation) -> String {
        let isBnB = self == .quantised(.nf4) || (stored == .bitsandbytes && self != .dense)
        return isBnB && bnb != "auto" ? bnb : dtype
    }
}

/// A format to quantise weights to while they are read.
public enum Quantisation: String, Sendable, CaseIterable {
    /// 8 bits, a scale each 32 values of a row.
    case int8
    /// 4 bits, scale and minimum each 32 values of a row.
    case int4
    /// Entries of a table of 16 normal quantiles, a scale each 64 values (Dettmers et al. 2023).
    case nf4
}

/// What a matrix is to its model: how far floats may be quantised.
public enum MatrixRole: Sendable {
    /// Of the text model's layers: as the form says.
    case layer
    /// Embedding or head: to 8 bits.
    case table
    /// Of a vision tower: floats stay floats.
    case tower

    /// How a matrix of this role is quantised where layers are as `quantisation`; nil: not.
    public func limit(_ quantisation: Quantisation) -> Quantisation? {
        switch self {
        case .layer: quantisation
        case .table: .int8
        case .tower: nil
        }
    }
}
