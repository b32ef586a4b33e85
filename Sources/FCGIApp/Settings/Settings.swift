/// Everything that an operator can set, decoded once at start (`SettingsLoader`), then handed
/// down by value.
///
/// Each field's name in files, unit, default and effect stand in `SettingsTable`, from which
/// docs/configuration.md is checked.
public struct Settings: Sendable, Equatable {
    /// Where state lives: keys, pepper (`paths.state_dir`).
    public var stateDirectory = "/var/lib/torchgate"
    /// Where sockets and other things that end with the process live (`paths.run_dir`).
    public var runDirectory = "/run/torchgate"
    /// The public side.
    public var server = ServerSettings()
    /// Which models there are and what their names mean.
    public var models = ModelsSettings()
    /// The engine process.
    public var engine = EngineSettings()
    /// Deviations for the sake of parity.
    public var compat = CompatSettings()
    /// Sampling defaults of the whole server.
    public var generation = GenerationSettings()
    /// Bounds on requests and queues.
    public var limits = LimitSettings()
    /// Images and clips.
    public var media = MediaSettings()
    /// Event streams and sessions.
    public var streams = SessionSettings()
    /// Whether a key is needed (`auth.enabled`); false only on loopback.
    public var authEnabled = true
    /// Requests a minute of a key that has no limit of its own.
    public var rateLimiting = RateLimitSettings()
    /// What nginx enforces before a request reaches us.
    public var nginx = NginxSettings()
    /// Logging.
    public var log = LogSettings()

    /// All defaults.
    public init() {}
}

/// How clients reach the server.
public struct ServerSettings: Sendable, Equatable {
    /// `development` keeps everything in the run directory; `production` uses the system's places.
    public var mode = Mode.production
    /// Address of the HTTPS listener.
    public var host = "0.0.0.0"
    /// HTTPS port.
    public var port = 443
    /// Plain HTTP port; 0 = none.
    public var httpPort = 80
    /// The name in certificates and redirects.
    public var name = "_"
    /// Certificate chain, PEM.
    public var certificate = "/etc/torchgate/tls/fullchain.pem"
    /// Private key, PEM.
    public var certificateKey = "/etc/torchgate/tls/key.pem"
    /// The FastCGI socket; empty = `fcgi.sock` in the run directory.
    public var socket = ""
    /// Users whose processes may connect to the sockets, besides root and the server's own.
    public var socketUsers = ["www-data"]
    /// Exchanges at once; beyond them 503.
    public var maxConnections = 2048
    /// Seconds that running requests get when the server stops.
    public var drainTimeout = 60.0

    /// Where files lie.
    public enum Mode: String, Sendable, CaseIterable {
        /// Everything under the run directory, started by hand.
        case development
        /// The places of a Debian system, started by systemd.
        case production
    }
}

/// The models on this machine.
public struct ModelsSettings: Sendable, Equatable {
    /// Folders of model folders.
    public var directories: [String] = ["/srv/models"]
    /// Hugging Face cache; empty = `HF_HOME`, else `~/.cache/huggingface`.
    public var huggingFaceHome = ""
    /// The model of requests that name none; empty = the only one there is, or none.
    public var standard = ""
    /// Load the default model at start.
    public var preload = false
    /// What a request for an unknown model gets.
    public var unknown = Unknown.error
    /// Other names of models.
    public var aliases: [String: String] = [:]
    /// Settings of single models, by id.
    public var settings: [String: ModelSettings] = [:]

    /// Answer to an unknown model name.
    public enum Unknown: String, Sendable, CaseIterable {
        /// 404 model_not_found.
        case error
        /// The default model answers.
        case `default`
    }
}

/// What one model overrides.
public struct ModelSettings: Sendable, Equatable {
    /// Folder or file; nil = found by its id.
    public var path: String?
    /// `cpu` or `cuda`.
    public var device: String?
    /// `auto`, `float32`, `bfloat16` or `float16`.
    public var dtype: String?
    /// `none`, `nf4`, `int8` or `int4`.
    public var quantize: String?
    /// Seconds; 0 = never.
    public var idleTimeout: Double?
    /// Sampling defaults.
    public var generation = GenerationSettings()
}

/// The engine process and its limits.
public struct EngineSettings: Sendable, Equatable {
    /// The executable; empty = `torchgate-engine` beside the server's.
    public var executable = ""
    /// The engine's socket; empty = `engine.sock` in the run directory.
    public var socket = ""
    /// `true`: systemd starts the engine when we connect; `false`: we spawn it.
    public var activation = false
    /// `auto`, `cpu` or `cuda`.
    public var device = "auto"
    /// `auto`, `float32`, `bfloat16` or `float16`.
    public var dtype = "auto"
    /// `none`, `nf4`, `int8` or `int4`.
    public var quantize = "none"
    /// As `dtype`; `auto` = what `dtype` says.
    public var bnbComputeType = "auto"
    /// Sequences at once.
    public var slots = 64
    /// Longest context in tokens; 0 = the model's.
    public var maxContext = 0
    /// Tokens held in the KV cache; 0 = as memory allows.
    public var kvTokens = 0
    /// Tokens computed in one step.
    public var stepTokens = 512
    /// Compute threads; 0 = one for each core.
    public var threads = 0
    /// Seconds without requests after which the engine exits; 0 = never.
    public var idleTimeout = 300.0
    /// Seconds that a non-streamed request waits for a load.
    public var loadWait = 120.0
    /// Seconds that an engine keeps its model after it lost its front.
    public var orphanGrace = 30.0
    /// Seconds without progress after which a busy engine counts as hung.
    public var hangTimeout = 60.0
    /// Seconds after a failed load in which no other is tried.
    public var coolDown = 10.0
    /// Bytes of features of images and clips that an engine keeps for further turns.
    public var visionCacheBytes = 256 << 20
    /// Part of the device's memory, 0…1, above which engines give cached memory back; 1 = never.
    public var vramThreshold = 0.85
    /// Models in memory at once, an engine each.
    public var maxLoadedModels = 1
    /// Seconds that a loaded model stays though only others are asked for.
    public var minResidency = 2.0
    /// Seconds after which a request for another model is no longer passed by newer ones.
    public var swapPatience = 10.0
}

/// Where what others compute differs from what was published.
public struct CompatSettings: Sendable, Equatable {
    /// How Qwen2.5-VL's clips count time.
    public enum VideoPositions: String, Sendable, CaseIterable {
        /// As it was published.
        case original
        /// As transformers 5.17 does.
        case hf517
    }

    /// How Qwen2.5-VL's clips count time.
    public var videoPositions = VideoPositions.original

    /// The defaults.
    public init() {}
}

/// Sampling defaults; nil falls through to the next level (model's generation_config.json, fallback).
public struct GenerationSettings: Sendable, Equatable {
    /// Tokens of an answer.
    public var maxTokens: Int?
    /// 0…2.
    public var temperature: Double?
    /// (0, 1].
    public var topP: Double?
    /// 0 = off.
    public var topK: Int?

    /// Nothing set.
    public init() {}
}

/// Bounds on requests and queues.
public struct LimitSettings: Sendable, Equatable {
    /// Bytes of a request body.
    public var bodyBytes = 64 * 1024 * 1024
    /// Bytes of all requests' bodies together.
    public var bodyBytesTotal = 1 << 30
    /// Requests waiting for the engine.
    public var queue = 512
    /// Seconds from a request's arrival to its end.
    public var requestTimeout = 600.0
    /// Messages of a chat.
    public var messages = 4096
    /// Stop strings of a request.
    public var stopStrings = 4
    /// Bytes of a stop string.
    public var stopBytes = 1024
    /// Seconds that a chat template may run.
    public var templateTimeout = 1.0
}

/// Event streams and sessions.
public struct SessionSettings: Sendable, Equatable {
    /// Seconds between heartbeats while nothing else is sent.
    public var heartbeat = 10.0
    /// Seconds that the headers of a stream wait for its first event.
    public var headerDelay = 2.0
    /// Events kept after the end of a generation.
    public var ring = 2048
    /// Seconds that a finished session is kept.
    public var ttl = 600.0
    /// Seconds that a session's generation runs on without a reader; 0 = until done.
    public var cancelAfterDisconnect = 3600.0
    /// Which streams run on when their reader leaves.
    public var detach = Detach.explicit

    /// Which streams run on when their reader leaves.
    public enum Detach: String, Sendable, CaseIterable {
        /// Those with a `session_id` of the client.
        case explicit
        /// All.
        case always
    }
}

/// Limits of keys that have none of their own.
public struct RateLimitSettings: Sendable, Equatable {
    /// Whether keys without a limit get the default one.
    public var enabled = false
    /// Requests a minute.
    public var requestsPerMinute = 60
}

/// What nginx enforces.
public struct NginxSettings: Sendable, Equatable {
    /// The user of nginx's workers.
    public var user = "www-data"
    /// Requests a second from one address.
    public var addressRate = 200
    /// Requests above that rate that pass at once.
    public var addressBurst = 800
    /// Requests a second of one key.
    public var keyRate = 100
    /// Requests above that rate that pass at once.
    public var keyBurst = 400
    /// Connections of one key at once.
    public var keyConnections = 512
    /// Connections of all keys at once.
    public var totalConnections = 2048
    /// Folder for request bodies, best on tmpfs; empty = in the run directory.
    public var bodyDirectory = ""
}

/// Logging.
public struct LogSettings: Sendable, Equatable {
    /// trace, debug, info, notice, warning, error or critical.
    public var level = "info"
    /// JSON or text lines.
    public var format = Format.json
    /// A file to append to; empty = standard error.
    public var file = ""

    /// Form of a line.
    public enum Format: String, Sendable, CaseIterable {
        /// One JSON object a line.
        case json
        /// For people.
        case text
    }
}

extension Settings {
    /// The FastCGI socket's path.
    public var fastCGISocket: String {
        server.socket.isEmpty ? "\(runDirectory)/fcgi.sock" : server.socket
    }

    /// The first engine's socket.
    public var engineSocket: String {
        engine.socket.isEmpty ? "\(runDirectory)/engine.sock" : engine.socket
    }

    /// The engines' sockets: after `engine.sock` or `engine-1.sock` comes `engine-2.sock`.
    public var engineSockets: [String] {
        let first = engineSocket
        var stem = first.hasSuffix(".sock") ? String(first.dropLast(5)) : first
        if stem.hasSuffix("-1") { stem.removeLast(2) }
        return [first]
            + (1..<max(1, engine.maxLoadedModels)).map { "\(stem)-\($0 + 1).sock" }
    }

    /// The WebSocket socket's path.
    public var webSocketSocket: String { "\(runDirectory)/ws.sock" }
}
