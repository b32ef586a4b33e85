/// A value of a GGUF file's metadata.
public enum GGUFValue: Sendable, Equatable {
    /// Any signed or unsigned integer; those above Int64.max are refused.
    case int(Int)
    /// float32 or float64.
    case float(Double)
    /// One byte, 0 or 1.
    case bool(Bool)
    /// UTF-8; invalid bytes became U+FFFD.
    case string(String)
    /// Numbers, as Int.
    case ints([Int])
    /// Numbers, as Double.
    case floats([Double])
    /// Strings.
    case strings([String])
    /// Booleans.
    case bools([Bool])
}

/// The metadata of a GGUF file by key.
public struct GGUFMetadata: Sendable, Equatable {
    /// All keys.
    public let values: [String: GGUFValue]

    /// The text of a key.
    public func string(_ key: String) -> String? {
        guard case .string(let value)? = values[key] else { return nil }
        return value
    }

    /// The whole number of a key.
    public func int(_ key: String) -> Int? {
        guard case .int(let value)? = values[key] else { return nil }
        return value
    }

    /// The number of a key.
    public func double(_ key: String) -> Double? {
        switch values[key] {
        case .float(let value)?: value
        case .int(let value)?: Double(value)
        default: nil
        }
    }

    /// The flag of a key.
    public func bool(_ key: String) -> Bool? {
        guard case .bool(let value)? = values[key] else { return nil }
        return value
    }

    /// The strings of a key.
    public func strings(_ key: String) -> [String]? {
        guard case .strings(let value)? = values[key] else { return nil }
        return value
    }

    /// The whole numbers of a key.
    public func ints(_ key: String) -> [Int]? {
        guard case .ints(let value)? = values[key] else { return nil }
        return value
    }

    /// `general.architecture`.
    public var architecture: String { string("general.architecture") ?? "" }
    /// The embedded chat template.
    public var chatTemplate: String? { string("tokenizer.chat_template") }
}
