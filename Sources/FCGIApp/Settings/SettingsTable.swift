/// All settings: one row each and nothing else, so that whoever looks for one reads one file.
public enum SettingsTable {
    /// The rows, in the order of the documentation.
    public static let fields: [SettingsField] =
        server + models + engine + generation + limits + media + outside

    static let anySeconds = 0.0...31_536_000.0

    private static let server: [SettingsField] = [
        text(
            "paths.state_dir",
            "folder",
            "Keys, the pepper and other state.",
            \.stateDirectory,
            ["TORCHGATE_STATE_DIR"]
        ),
        checked(
            "paths.run_dir",
            "folder",
            "Sockets and other files that end with the process.",
            \.runDirectory,
            NginxText.file,
            ["TORCHGATE_RUN_DIR"]
        ),
        choice(
            "server.mode",
            "Where nginx's files lie: all in the run directory, or in the system's places.",
            \.server.mode
        ),
        checked(
            "server.host",
            "address",
            "Address of the HTTPS listener; `::` = every address, IPv4 too.",
            \.server.host,
            NginxText.address,
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
        checked(
            "server.name",
            "host name",
            "Name in redirects and certificates; `_` = whatever the client calls it.",
            \.server.name,
            NginxText.name
        ),
        checked(
            "server.certificate",
            "file",
            "Certificate chain, PEM.",
            \.server.certificate,
            NginxText.file
        ),
        checked(
            "server.certificate_key",
            "file",
            "Private key, PEM.",
            \.server.certificateKey,
            NginxText.file
        ),
        checked(
            "server.socket",
            "file",
            "FastCGI socket; empty = fcgi.sock in the run directory.",
            \.server.socket,
            NginxText.fileOrNone
        ),
        list(
            "server.socket_users",
            "user names",
            "Users, besides nginx.user, whose processes may connect to the socket.",
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
            "Time for running requests when the server stops; 0 = none.",
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
            effect:
                "Settings of single models: path, device, dtype, quantize, idle_timeout, generation.*; see above.",
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                try readModels(raw, &settings.models.settings)
            },
            show: { showModels($0.models.settings) }
        ),
    ]

    static let dtypes = ["auto", "float32", "bfloat16", "float16"]
    static let quantisations = ["none", "nf4", "int8", "int4"]
    static let devices = ["auto", "cpu", "cuda"]

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
        word(
            "engine.quantize",
            quantisations,
            "What weights stored as floats are quantised to while they are read.",
            \.engine.quantize,
            ["TORCHGATE_QUANTIZE"]
        ),
        word(
            "engine.bnb_compute_dtype",
            dtypes,
            "Type that bitsandbytes' checkpoints and quantize: nf4 compute in; auto = engine.dtype.",
            \.engine.bnbComputeType
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
            "Time that a request that is not streamed waits for a load; 0 = none.",
            \.engine.loadWait
        ),
        seconds(
            "engine.orphan_grace",
            "Time that an engine keeps its model after it lost the server; 0 = none.",
            \.engine.orphanGrace
        ),
        seconds(
            "engine.hang_timeout",
            "Time without progress after which a busy engine counts as hung; at least 5.",
            \.engine.hangTimeout,
            from: 5
        ),
        seconds(
            "engine.cool_down",
            "Time after a failed load in which no other is tried; at least 1.",
            \.engine.coolDown,
            from: 1
        ),
        int(
            "engine.vision_cache_bytes",
            "bytes",
            "Features of images and clips that an engine keeps for further turns; 0 = none.",
            \.engine.visionCacheBytes,
            0...1_099_511_627_776
        ),
        double(
            "engine.vram_threshold",
            "0.05…1",
            "Part of the device's memory above which engines give cached memory back; 1 = never.",
            \.engine.vramThreshold,
            0.05...1,
            ["TORCHGATE_VRAM_THRESHOLD"]
        ),
        int(
            "engine.max_loaded_models",
            "models",
            "Models in memory at once, an engine each.",
            \.engine.maxLoadedModels,
            1...64
        ),
        seconds(
            "engine.min_residency",
            "Time that a loaded model stays though only others are asked for; 0 = none.",
            \.engine.minResidency
        ),
        seconds(
            "engine.swap_patience",
            "Time that a request for another model waits before newer ones no longer pass it; 0 = none.",
            \.engine.swapPatience
        ),
    ]

    static let generation: [SettingsField] = [
        choice(
            "compat.qwen2_5_vl_video_positions",
            "How Qwen2.5-VL's clips count time: as published, or as transformers 5.17 does.",
            \.compat.videoPositions
        ),
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
            "limits.body_bytes_total",
            "bytes",
            "Bodies of all requests in hand together; at least `limits.body_bytes`, beyond it 503.",
            \.limits.bodyBytesTotal,
            1_048_576...1_099_511_627_776
        ),
        int(
            "limits.queue",
            "requests",
            "Requests that wait for the engine, a cold one too; beyond them 503.",
            \.limits.queue,
            1...1_000_000
        ),
        seconds(
            "limits.request_timeout",
            "Time of a request from arrival to end; at least 1, and below nginx's 620 s.",
            \.limits.requestTimeout,
            from: 1
        ),
        int("limits.messages", "messages", "Messages of a chat.", \.limits.messages, 1...1_000_000),
        int(
            "limits.stop_strings",
            "strings",
            "Stop strings of a request; 0 = none are allowed.",
            \.limits.stopStrings,
            0...1024
        ),
        int("limits.stop_bytes", "bytes", "Size of a stop string.", \.limits.stopBytes, 1...65536),
        seconds(
            "limits.template_timeout",
            "Time that a chat template may run; at least 0.05.",
            \.limits.templateTimeout,
            from: 0.05
        ),
    ]

    private static let outside: [SettingsField] = [
        seconds(
            "streams.heartbeat",
            "Time between heartbeats while nothing else is sent; at least 0.1.",
            \.streams.heartbeat,
            from: 0.1
        ),
        seconds(
            "streams.header_delay",
            "Longest wait of a stream's headers for its first event; 0 = none.",
            \.streams.headerDelay
        ),
        int(
            "streams.ring",
            "events",
            "Events kept after the end of a generation.",
            \.streams.ring,
            1...10_000_000
        ),
        seconds(
            "streams.ttl",
            "Time that a finished session is kept; at least 1.",
            \.streams.ttl,
            from: 1
        ),
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
        checked(
            "nginx.user",
            "user name",
            "User of nginx's workers.",
            \.nginx.user,
            NginxText.user
        ),
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
            1...1_000_000
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
            1...1_000_000
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
            "Connections of all keys at once; beyond them 503.",
            \.nginx.totalConnections,
            1...1_000_000
        ),
        checked(
            "nginx.body_dir",
            "folder",
            "Request bodies, best on tmpfs; empty = in the run directory.",
            \.nginx.bodyDirectory,
            NginxText.fileOrNone
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
