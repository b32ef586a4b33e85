/// One row for each setting.
///
/// Its name in files (`TORCHGATE_…` in the environment), what it does, its unit, and how it is
/// read. The loader, the documentation and `torchgate settings` all come from here.
public struct SettingsField: Sendable {
    /// The name in files, with dots: `engine.idle_timeout`.
    public let key: String
    /// Unit or kind of the value.
    public let unit: String
    /// The effect, one sentence.
    public let effect: String
    /// Short names in the environment beside the long one.
    public let shortVariables: [String]
    let read: @Sendable (RawSetting, inout Settings) throws(RawError) -> Void
    /// The value in words.
    let show: @Sendable (Settings) -> String

    /// The variable in the environment: `TORCHGATE_ENGINE_IDLE_TIMEOUT`.
    public var variable: String {
        "TORCHGATE_" + key.uppercased().replacing(".", with: "_")
    }

    /// The value in these settings as text.
    public func text(in settings: Settings) -> String { show(settings) }
}

// MARK: Rows by kind

extension SettingsTable {
    typealias Path<T> = any WritableKeyPath<Settings, T> & Sendable

    static func text(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<String>,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.string() },
            show: { $0[keyPath: path] }
        )
    }

    /// Text that `check` reads, and may write in its one form.
    static func checked(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<String>,
        _ check: @escaping @Sendable (String) throws(RawError) -> String,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try check(try raw.string())
            },
            show: { $0[keyPath: path] }
        )
    }

    static func word(
        _ key: String,
        _ known: [String],
        _ effect: String,
        _ path: Path<String>,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: known.joined(separator: ", "),
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.word(known)
            },
            show: { $0[keyPath: path] }
        )
    }

    static func list(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<[String]>,
        _ short: [String] = [],
        separator: Character = ","
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try raw.strings(separator: separator)
            },
            show: { $0[keyPath: path].joined(separator: String(separator)) }
        )
    }

    static func choice<T: RawRepresentable & CaseIterable & Sendable>(
        _ key: String,
        _ effect: String,
        _ path: Path<T>
    ) -> SettingsField where T.RawValue == String {
        SettingsField(
            key: key,
            unit: T.allCases.map(\.rawValue).joined(separator: ", "),
            effect: effect,
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try raw.choice(T.self)
            },
            show: { $0[keyPath: path].rawValue }
        )
    }

    static func flag(_ key: String, _ effect: String, _ path: Path<Bool>) -> SettingsField {
        SettingsField(
            key: key,
            unit: "true, false",
            effect: effect,
            shortVariables: [],
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.bool() },
            show: { $0[keyPath: path] ? "true" : "false" }
        )
    }

    static func int(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<Int>,
        _ range: ClosedRange<Int>,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.int(range)
            },
            show: { String($0[keyPath: path]) }
        )
    }

    static func seconds(
        _ key: String,
        _ effect: String,
        _ path: Path<Double>,
        _ short: [String] = [],
        from least: Double = 0
    ) -> SettingsField {
        double(key, "seconds", effect, path, least...anySeconds.upperBound, short)
    }

    static func double(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<Double>,
        _ range: ClosedRange<Double>,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try raw.double(range)
            },
            show: { number($0[keyPath: path]) }
        )
    }

    static func optionalInt(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<Int?>,
        _ range: ClosedRange<Int>
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: [],
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.int(range)
            },
            show: { $0[keyPath: path].map(String.init) ?? "" }
        )
    }

    static func optionalDouble(
        _ key: String,
        _ unit: String,
        _ effect: String,
        _ path: Path<Double?>,
        _ range: ClosedRange<Double>
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: unit,
            effect: effect,
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try raw.double(range)
            },
            show: { $0[keyPath: path].map(number) ?? "" }
        )
    }

    static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }
}
