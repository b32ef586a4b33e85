/// A value as a source spells it, before it is known what it should be.
public indirect enum RawSetting: Sendable, Equatable {
    /// One word: an environment variable, a flag, a YAML scalar.
    case text(String)
    /// A YAML sequence.
    case list([RawSetting])
    /// A YAML mapping, in order.
    case map([Member])

    /// A member of a mapping.
    public struct Member: Sendable, Equatable {
        /// The name.
        public var key: String
        /// The value.
        public var value: RawSetting
    }
}

/// Why the configuration is refused; the process ends with it.
public struct SettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Where the value comes from: a file, `environment`, `flag`.
    public var source: String
    /// The setting's name, empty where the whole source is unreadable.
    public var key: String
    /// What is wrong and what is expected.
    public var problem: String

    /// One line for people.
    public var description: String { "\(source): \(key.isEmpty ? "" : "\(key): ")\(problem)" }
}

/// Thrown by a field's reader; the loader adds source and key.
struct RawError: Error { var problem: String }

extension RawSetting {
    func string() throws(RawError) -> String {
        guard case .text(let text) = self else { throw RawError(problem: "expected one value") }
        return text
    }

    func int(_ range: ClosedRange<Int>) throws(RawError) -> Int {
        guard let value = Int(try string()), range.contains(value) else {
            throw RawError(
                problem: "expected a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return value
    }

    func double(_ range: ClosedRange<Double>) throws(RawError) -> Double {
        guard let value = Double(try string()), range.contains(value) else {
            throw RawError(
                problem: "expected a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return value
    }

    func bool() throws(RawError) -> Bool {
        switch try string().lowercased() {
        case "true", "yes", "on", "1": return true
        case "false", "no", "off", "0": return false
        default: throw RawError(problem: "expected true or false")
        }
    }

    func choice<T: RawRepresentable & CaseIterable>(_ type: T.Type) throws(RawError) -> T
    where T.RawValue == String {
        guard let value = T(rawValue: try string()) else {
            let known = T.allCases.map(\.rawValue).joined(separator: ", ")
            throw RawError(problem: "expected one of: \(known)")
        }
        return value
    }

    /// One of these words.
    func word(_ known: [String]) throws(RawError) -> String {
        let value = try string()
        guard known.contains(value) else {
            throw RawError(problem: "expected one of: \(known.joined(separator: ", "))")
        }
        return value
    }

    /// A sequence, or words between commas or colons.
    func strings(separator: Character = ",") throws(RawError) -> [String] {
        switch self {
        case .text(let text): return text.split(separator: separator).map { $0.trimmed }
        case .list(let items):
            var words: [String] = []
            for item in items { words.append(try item.string()) }
            return words
        case .map: throw RawError(problem: "expected a list")
        }
    }

    /// A mapping, or `name=value` words between commas.
    func members() throws(RawError) -> [Member] {
        switch self {
        case .map(let members): return members
        case .text(let text):
            var members: [Member] = []
            for word in text.split(separator: ",") {
                guard let sign = word.firstIndex(of: "=") else {
                    throw RawError(problem: "expected name=value words between commas")
                }
                members.append(
                    Member(
                        key: word[..<sign].trimmed,
                        value: .text(word[word.index(after: sign)...].trimmed)
                    )
                )
            }
            return members
        case .list: throw RawError(problem: "expected names with values")
        }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
