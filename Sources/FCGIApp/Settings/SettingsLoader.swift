internal import Foundation
internal import Yams

/// Reads the sources and lays them over each other.
///
/// Defaults, YAML file, `.env` file, environment, flags. A name that no row of the table knows is
/// an error: a typing mistake must not become a default.
public struct SettingsLoader: Sendable {
    /// Variables with our prefix that are no settings.
    static let otherVariables: Set<String> = [
        "TORCHGATE_DEVICE_LIBRARY", "TORCHGATE_EMULATED_BYTES", "TORCHGATE_EMULATED_FAULT_AFTER",
        "TORCHGATE_FIXED_TIME", "TORCHGATE_NO_TORCH", "TORCHGATE_PEPPER_FILE",
    ]

    /// YAML text that stands in for the defaults of what it names, and its name in messages.
    public var defaults: (name: String, text: String)?
    /// YAML text and its name in messages.
    public var file: (name: String, text: String)?
    /// `.env` text and its name in messages.
    public var environmentFile: (name: String, text: String)?
    /// The process's environment.
    public var environment: [String: String] = [:]
    /// `key=value` words of `--set` and of the flags that stand for them.
    public var flags: [String] = []

    /// Nothing but defaults.
    public init() {}

    /// The settings.
    /// - Throws: `SettingsError` for the first wrong value, unknown name or impossible combination.
    public func load() throws(SettingsError) -> Settings { try loadWithNotices().settings }

    /// The settings, and a line for each variable of another server that was met on the way.
    /// - Throws: as `load`.
    public func loadWithNotices() throws(SettingsError) -> (settings: Settings, notices: [String]) {
        var settings = Settings()
        var notices: [String] = []
        for layer in [defaults, file] {
            if let layer { try apply(yaml: layer.text, source: layer.name, to: &settings) }
        }
        if let environmentFile {
            let variables = try Self.parse(
                environmentFile: environmentFile.text,
                source: environmentFile.name
            )
            notices += OtherServers.apply(variables, to: &settings)
            try apply(variables: variables, source: environmentFile.name, to: &settings)
        }
        notices += OtherServers.apply(environment, to: &settings)
        try apply(variables: environment, source: "environment", to: &settings)
        for word in flags {
            guard let sign = word.firstIndex(of: "=") else {
                throw SettingsError(source: "flag", key: word, problem: "expected name=value")
            }
            try apply(
                flag: String(word[..<sign]),
                String(word[word.index(after: sign)...]),
                to: &settings
            )
        }
        try check(settings)
        return (settings, notices)
    }

    /// A row, or a member of one that has members.
    private func apply(flag key: String, _ value: String, to settings: inout Settings)
        throws(SettingsError)
    {
        let models = "models.settings"
        guard key.hasPrefix("\(models).") else {
            return try apply(key, .text(value), "flag", &settings)
        }
        let member = RawSetting.Member(
            key: String(key.dropFirst(models.utf8.count + 1)),
            value: .text(value)
        )
        try apply(models, .map([member]), "flag", &settings)
    }

    private func check(_ settings: Settings) throws(SettingsError) {
        let loopback = ["127.0.0.1", "::1", "localhost"]
        if !settings.authEnabled, !loopback.contains(settings.server.host) {
            throw SettingsError(
                source: "settings",
                key: "auth.enabled",
                problem: "may be false only where server.host is a loopback address"
            )
        }
        if settings.limits.bodyBytesTotal < settings.limits.bodyBytes {
            throw SettingsError(
                source: "settings",
                key: "limits.body_bytes_total",
                problem: "is less than limits.body_bytes"
            )
        }
    }

    private func apply(
        _ key: String,
        _ raw: RawSetting,
        _ source: String,
        _ settings: inout Settings
    )
        throws(SettingsError)
    {
        guard let field = Self.byKey[key] else {
            throw SettingsError(source: source, key: key, problem: "unknown setting")
        }
        do throws(RawError) { try field.read(raw, &settings) } catch {
            throw SettingsError(source: source, key: key, problem: error.problem)
        }
    }

    private static let byKey = Dictionary(
        uniqueKeysWithValues: SettingsTable.fields.map { ($0.key, $0) }
    )
    private static let byVariable = Dictionary(
        SettingsTable.fields.flatMap { field in
            ([field.variable] + field.shortVariables).map { ($0, field.key) }
        },
        uniquingKeysWith: { first, _ in first }
    )

    private func apply(variables: [String: String], source: String, to settings: inout Settings)
        throws(SettingsError)
    {
        // Short names first, so that the long, exact one wins.
        let ours = variables.filter {
            $0.key.hasPrefix("TORCHGATE_") && !Self.otherVariables.contains($0.key)
        }
        for (name, value) in ours.sorted(by: { ($0.key.count, $0.key) < ($1.key.count, $1.key) }) {
            guard let key = Self.byVariable[name] else {
                throw SettingsError(source: source, key: name, problem: "unknown setting")
            }
            try apply(key, .text(value), source, &settings)
        }
    }

    private func apply(yaml: String, source: String, to settings: inout Settings)
        throws(SettingsError)
    {
        let root: Node?
        do { root = try Yams.compose(yaml: yaml) } catch {
            throw SettingsError(source: source, key: "", problem: "is not readable as YAML")
        }
        guard let root, root != Node("") else { return }
        guard case .mapping = root else {
            throw SettingsError(source: source, key: "", problem: "expected names with values")
        }
        try apply(node: root, prefix: "", source, &settings)
    }

    /// Descends until a name is a row of the table.
    private func apply(node: Node, prefix: String, _ source: String, _ settings: inout Settings)
        throws(SettingsError)
    {
        if Self.byKey[prefix] != nil {
            return try apply(prefix, Self.raw(node, source: source, key: prefix), source, &settings)
        }
        guard case .mapping(let mapping) = node, prefix.count < 200 else {
            throw SettingsError(source: source, key: prefix, problem: "unknown setting")
        }
        for (name, value) in mapping {
            let key = prefix.isEmpty ? name.string ?? "?" : "\(prefix).\(name.string ?? "?")"
            try apply(node: value, prefix: key, source, &settings)
        }
    }

    private static func raw(_ node: Node, source: String, key: String, depth: Int = 0)
        throws(SettingsError)
        -> RawSetting
    {
        guard depth < 8 else {
            throw SettingsError(source: source, key: key, problem: "nested too deeply")
        }
        switch node {
        case .scalar(let scalar): return .text(scalar.string)
        case .sequence(let items):
            var list: [RawSetting] = []
            for item in items {
                list.append(try raw(item, source: source, key: key, depth: depth + 1))
            }
            return .list(list)
        case .mapping(let mapping):
            var members: [RawSetting.Member] = []
            for (name, value) in mapping {
                members.append(
                    .init(
                        key: name.string ?? "?",
                        value: try raw(value, source: source, key: key, depth: depth + 1)
                    )
                )
            }
            return .map(members)
        case .alias:
            throw SettingsError(source: source, key: key, problem: "aliases are not supported")
        }
    }

    /// `NAME=value` lines; `#` starts a comment line, quotes around a value are taken off.
    static func parse(environmentFile text: String, source: String) throws(SettingsError)
        -> [String: String]
    {
        var variables: [String: String] = [:]
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            var line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("export ") { line.removeFirst(7) }
            guard !line.isEmpty, !line.hasPrefix("#") else { continue }
            guard let sign = line.firstIndex(of: "=") else {
                throw SettingsError(
                    source: source,
                    key: "line \(number + 1)",
                    problem: "expected NAME=value"
                )
            }
            var value = String(line[line.index(after: sign)...])
            for quote in ["\"", "'"]
            where value.count >= 2 && value.hasPrefix(quote) && value.hasSuffix(quote) {
                value = String(value.dropFirst().dropLast())
                break
            }
            variables[String(line[..<sign])] = value
        }
        return variables
    }
}
