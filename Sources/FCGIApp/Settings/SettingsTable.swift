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

/// All settings.
public enum SettingsTable {
    /// The rows, in the order of the documentation.
    public static let fields: [SettingsField] =
        server + models + engine + generation + limits + outside

    private static let anySeconds = 0.0...31_536_000.0

    private static let server: [SettingsField] = [
        text(
            "paths.state_dir",
            "folder",
            "Keys, the pepper and other state.",
            \.stateDirectory,
            ["TORCHGATE_STATE_DIR"]
        ),
        text(
            "paths.run_dir",
            "folder",
            "Sockets and other files that end with the process.",
            \.runDirectory,
            ["TORCHGATE_RUN_DIR"]
        ),
        choice(
            "server.mode",
            "Where nginx's files lie: all in the run directory, or in the system's places.",
            \.server.mode
        ),
        text(
            "server.host",
            "address",
            "Address of the HTTPS listener.",
            \.server.host,
            ["TORCHGATE_HOST"]
        ),
        int("server.port", "port", "HTTPS port.", \.server.port, 1...65535, ["TORCHGATE_PORT"]),
        int(
            "server.http_port",
            "port",
            "Plain HTTP port, 0 = none; in development the API on 127.0.0.1, in production health, ACME and redirects.",
            \.server.httpPort,
            0...65535
        ),
        text("server.name", "host name", "Name in redirects and certificates.", \.server.name),
        text("server.certificate", "file", "Certificate chain, PEM.", \.server.certificate),
        text("server.certificate_key", "file", "Private key, PEM.", \.server.certificateKey),
        text(
            "server.socket",
            "file",
            "FastCGI socket; empty = fcgi.sock in the run directory.",
            \.server.socket
        ),
        list(
            "server.socket_users",
            "user names",
            "Users whose processes may connect to the socket.",
            \.server.socketUsers
        ),
        int(
            "server.max_connections",
            "requests",
            "Requests in hand at once; beyond them 503.",
            \.server.maxConnections,
            1...100_000
        ),
        seconds(
            "server.drain_timeout",
            "Time for running requests when the server stops.",
            \.server.drainTimeout
        ),
        flag(
            "auth.enabled",
            "Whether a key is needed; false only with server.host on loopback.",
            \.authEnabled
        ),
        flag(
            "rate_limiting.enabled",
            "Whether keys without limits of their own get the default one.",
            \.rateLimiting.enabled
        ),
        int(
            "rate_limiting.requests_per_minute",
            "requests/min",
            "The default limit of a key.",
            \.rateLimiting.requestsPerMinute,
            1...10_000_000
        ),
    ]

    private static let models: [SettingsField] = [
        list(
            "models.directories",
            "folders",
            "Folders of model folders.",
            \.models.directories,
            ["TORCHGATE_MODELS_DIR"],
            separator: ":"
        ),
        text(
            "models.hf_home",
            "folder",
            "Hugging Face cache; empty = HF_HOME, else ~/.cache/huggingface.",
            \.models.huggingFaceHome
        ),
        text(
            "models.default",
            "model id",
            "The model of requests that name none.",
            \.models.standard,
            ["TORCHGATE_MODEL"]
        ),
        flag("models.preload", "Load the default model at start.", \.models.preload),
        choice("models.unknown", "What a request for an unknown model gets.", \.models.unknown),
        SettingsField(
            key: "models.aliases",
            unit: "name: id",
            effect: "Other names of models.",
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                for member in try raw.members() {
                    settings.models.aliases[member.key] = try member.value.string()
                }
            },
            show: {
                $0.models.aliases.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(
                    separator: ","
                )
            }
        ),
        SettingsField(
            key: "models.settings",
            unit: "id: mapping",
            effect: "Settings of single models: path, device, dtype, idle_timeout, generation.*.",
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                for member in try raw.members() {
                    settings.models.settings[member.key] = try model(member.value)
                }
            },
            show: { $0.models.settings.keys.sorted().joined(separator: ",") }
        ),
    ]

    private static let dtypes = ["auto", "float32", "bfloat16", "float16"]
    private static let devices = ["auto", "cpu", "cuda"]

    private static let engine: [SettingsField] = [
        text(
            "engine.executable",
            "file",
            "The engine; empty = torchgate-engine beside the server.",
            \.engine.executable
        ),
        text(
            "engine.socket",
            "file",
            "The engine's socket; empty = engine.sock in the run directory.",
            \.engine.socket
        ),
        flag(
            "engine.activation",
            "Whether systemd starts the engine when the server connects.",
            \.engine.activation
        ),
        word("engine.device", devices, "Where models run.", \.engine.device, ["TORCHGATE_DEVICE"]),
        word(
            "engine.dtype",
            dtypes,
            "Type that models compute in.",
            \.engine.dtype,
            ["TORCHGATE_DTYPE"]
        ),
        int("engine.slots", "sequences", "Sequences computed at once.", \.engine.slots, 1...4096),
        int(
            "engine.max_context",
            "tokens",
            "Longest context; 0 = the model's.",
            \.engine.maxContext,
            0...16_777_216
        ),
        int(
            "engine.kv_tokens",
            "tokens",
            "Tokens in the KV cache; 0 = as memory allows.",
            \.engine.kvTokens,
            0...1_000_000_000
        ),
        int(
            "engine.step_tokens",
            "tokens",
            "Tokens computed in one step.",
            \.engine.stepTokens,
            16...65536
        ),
        int(
            "engine.threads",
            "threads",
            "Compute threads; 0 = one for each core.",
            \.engine.threads,
            0...1024
        ),
        seconds(
            "engine.idle_timeout",
            "Time without requests after which the engine exits; 0 = never.",
            \.engine.idleTimeout,
            ["TORCHGATE_IDLE_TIMEOUT"]
        ),
        seconds(
            "engine.load_wait",
            "Time that a request that is not streamed waits for a load.",
            \.engine.loadWait
        ),
        seconds(
            "engine.orphan_grace",
            "Time that an engine keeps its model after it lost the server.",
            \.engine.orphanGrace
        ),
        seconds(
            "engine.hang_timeout",
            "Time without progress after which a busy engine counts as hung.",
            \.engine.hangTimeout
        ),
        seconds(
            "engine.cool_down",
            "Time after a failed load in which no other is tried.",
            \.engine.coolDown
        ),
    ]

    private static let generation: [SettingsField] = [
        optionalInt(
            "generation.max_tokens",
            "tokens",
            "Tokens of an answer where the request says nothing.",
            \.generation.maxTokens,
            1...16_777_216
        ),
        optionalDouble(
            "generation.temperature",
            "0…2",
            "Temperature where the request says nothing.",
            \.generation.temperature,
            0...2
        ),
        optionalDouble(
            "generation.top_p",
            "(0, 1]",
            "top_p where the request says nothing.",
            \.generation.topP,
            0.000001...1
        ),
        optionalInt(
            "generation.top_k",
            "tokens",
            "top_k where the request says nothing; 0 = off.",
            \.generation.topK,
            0...1_000_000
        ),
    ]

    private static let limits: [SettingsField] = [
        int(
            "limits.body_bytes",
            "bytes",
            "Size of a request body.",
            \.limits.bodyBytes,
            1024...1_073_741_824
        ),
        int(
            "limits.queue",
            "requests",
            "Requests that wait for the engine; beyond them 503.",
            \.limits.queue,
            0...1_000_000
        ),
        seconds(
            "limits.request_timeout",
            "Time of a request from arrival to end; keep it below nginx's 620 s.",
            \.limits.requestTimeout
        ),
        int("limits.messages", "messages", "Messages of a chat.", \.limits.messages, 1...1_000_000),
        int(
            "limits.stop_strings",
            "strings",
            "Stop strings of a request.",
            \.limits.stopStrings,
            0...1024
        ),
        int("limits.stop_bytes", "bytes", "Size of a stop string.", \.limits.stopBytes, 1...65536),
        seconds(
            "limits.template_timeout",
            "Time that a chat template may run.",
            \.limits.templateTimeout
        ),
    ]

    private static let outside: [SettingsField] = [
        seconds(
            "streams.heartbeat",
            "Time between heartbeats while nothing else is sent.",
            \.streams.heartbeat
        ),
        seconds(
            "streams.header_delay",
            "Longest wait of a stream's headers for its first event.",
            \.streams.headerDelay
        ),
        int(
            "streams.ring",
            "events",
            "Events kept after the end of a generation.",
            \.streams.ring,
            1...10_000_000
        ),
        seconds("streams.ttl", "Time that a finished session is kept.", \.streams.ttl),
        seconds(
            "streams.cancel_after_disconnect",
            "Time that a session's generation runs on without a reader; 0 = until done.",
            \.streams.cancelAfterDisconnect
        ),
        choice(
            "streams.detach",
            "Which streams run on when their reader leaves: those with a session_id, or all.",
            \.streams.detach
        ),
        text("nginx.user", "user name", "User of nginx's workers.", \.nginx.user),
        int(
            "nginx.address_rate",
            "requests/s",
            "Requests from one address.",
            \.nginx.addressRate,
            1...1_000_000
        ),
        int(
            "nginx.address_burst",
            "requests",
            "Requests above the address's rate that pass at once.",
            \.nginx.addressBurst,
            0...1_000_000
        ),
        int(
            "nginx.key_rate",
            "requests/s",
            "Requests with one key.",
            \.nginx.keyRate,
            1...1_000_000
        ),
        int(
            "nginx.key_burst",
            "requests",
            "Requests above the key's rate that pass at once.",
            \.nginx.keyBurst,
            0...1_000_000
        ),
        int(
            "nginx.key_connections",
            "connections",
            "Connections with one key at once.",
            \.nginx.keyConnections,
            1...100_000
        ),
        int(
            "nginx.total_connections",
            "connections",
            "Connections of all keys at once.",
            \.nginx.totalConnections,
            1...1_000_000
        ),
        text(
            "nginx.body_dir",
            "folder",
            "Request bodies, best on tmpfs; empty = in the run directory.",
            \.nginx.bodyDirectory
        ),
        word(
            "log.level",
            ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            "Least severity that is logged.",
            \.log.level
        ),
        choice("log.format", "Form of a log line.", \.log.format),
        text("log.file", "file", "File to append to; empty = standard error.", \.log.file),
    ]
}

// MARK: Rows by kind

extension SettingsTable {
    typealias Path<T> = any WritableKeyPath<Settings, T> & Sendable

    private static func text(
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

    private static func word(
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

    private static func list(
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

    private static func choice<T: RawRepresentable & CaseIterable & Sendable>(
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

    private static func flag(_ key: String, _ effect: String, _ path: Path<Bool>) -> SettingsField {
        SettingsField(
            key: key,
            unit: "true, false",
            effect: effect,
            shortVariables: [],
            read: { raw, settings throws(RawError) in settings[keyPath: path] = try raw.bool() },
            show: { $0[keyPath: path] ? "true" : "false" }
        )
    }

    private static func int(
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

    private static func seconds(
        _ key: String,
        _ effect: String,
        _ path: Path<Double>,
        _ short: [String] = []
    ) -> SettingsField {
        SettingsField(
            key: key,
            unit: "seconds",
            effect: effect,
            shortVariables: short,
            read: { raw, settings throws(RawError) in
                settings[keyPath: path] = try raw.double(anySeconds)
            },
            show: { number($0[keyPath: path]) }
        )
    }

    private static func optionalInt(
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

    private static func optionalDouble(
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

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }

    private static func model(_ raw: RawSetting) throws(RawError) -> ModelSettings {
        var model = ModelSettings()
        for member in try raw.members() {
            switch member.key {
            case "path": model.path = try member.value.string()
            case "device": model.device = try member.value.word(devices)
            case "dtype": model.dtype = try member.value.word(dtypes)
            case "idle_timeout": model.idleTimeout = try member.value.double(anySeconds)
            case "generation": model.generation = try sampling(member.value)
            default: throw RawError(problem: "unknown setting of a model: \(member.key)")
            }
        }
        return model
    }

    /// Reads a model's `generation` through the rows of the global one.
    private static func sampling(_ raw: RawSetting) throws(RawError) -> GenerationSettings {
        var settings = Settings()
        for member in try raw.members() {
            guard let field = generation.first(where: { $0.key == "generation.\(member.key)" })
            else {
                throw RawError(problem: "unknown setting of a model: generation.\(member.key)")
            }
            try field.read(member.value, &settings)
        }
        return settings.generation
    }
}
