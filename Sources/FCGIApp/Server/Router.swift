internal import KeyStore

/// What a request asks for.
///
/// Method and path, nothing else. Everything but the public four needs a key.
enum Endpoint: Equatable {
    /// POST /v1/chat/completions
    case chatCompletions
    /// POST /v1/completions
    case completions
    /// GET /v1/models
    case models
    /// GET /v1/models/{id}; ids may contain `/`
    case model(String)
    /// GET /models: what lies on the disk
    case repositories
    /// GET /v1/streams/{session_id}: events again
    case stream(String)
    /// POST /v1/tokenize
    case tokenize
    /// POST /v1/detokenize
    case detokenize
    /// GET /status
    case status
    /// POST /unload
    case unload
    /// GET /vram_status
    case memory
    /// POST /clear_vram
    case clearMemory
    /// GET /metrics
    case metrics
    /// GET /
    case root
    /// GET /health
    case health
    /// GET /livez
    case live
    /// GET /readyz
    case ready
    /// nginx's first stage: is this credential good?
    case authentication

    /// What the caller must be allowed to do.
    enum Access: Equatable {
        /// Nothing.
        case open
        /// A live key with the scope.
        case scope(Scope)
        /// A caller on this machine, or a key with the admin scope.
        case loopbackOrAdmin
    }

    var access: Access {
        switch self {
        case .root, .health, .live, .ready, .authentication: .open
        case .unload, .clearMemory: .scope(.admin)
        case .metrics: .loopbackOrAdmin
        case .chatCompletions, .completions, .models, .model, .repositories, .stream, .tokenize,
            .detokenize, .status, .memory:
            .scope(.infer)
        }
    }

    /// A short, bounded name for metrics and logs.
    var label: String {
        switch self {
        case .chatCompletions: "chat_completions"
        case .completions: "completions"
        case .models, .model, .repositories: "models"
        case .stream: "streams"
        case .tokenize: "tokenize"
        case .detokenize: "detokenize"
        case .status: "status"
        case .unload: "unload"
        case .memory: "vram_status"
        case .clearMemory: "clear_vram"
        case .metrics: "metrics"
        case .root: "root"
        case .health, .live, .ready: "health"
        case .authentication: "auth"
        }
    }

    /// Whether calls count against a key's request limit: those that make the server work.
    var countsAsRequest: Bool {
        switch self {
        case .chatCompletions, .completions, .tokenize, .detokenize: true
        default: false
        }
    }
}

/// The table of routes.
enum Router {
    enum Match: Equatable {
        case found(Endpoint)
        /// The path exists; these are its methods.
        case wrongMethod(allowed: String)
        case notFound
    }

    /// Whether errors on a path have the form `{"detail": …}`, as the API that it comes from has.
    static func hasDetailErrors(_ path: String) -> Bool {
        path == "/vram_status" || path == "/clear_vram" || path.hasPrefix("/api/v1/")
    }

    static func match(method: String, path: String) -> Match {
        guard let (wanted, endpoint) = route(path) else { return .notFound }
        if endpoint == .authentication { return .found(endpoint) }
        if method == wanted || (wanted == "GET" && method == "HEAD") { return .found(endpoint) }
        return .wrongMethod(allowed: wanted)
    }

    private static func route(_ path: String) -> (method: String, Endpoint)? {
        switch path {
        case "/": ("GET", .root)
        case "/health": ("GET", .health)
        case "/livez": ("GET", .live)
        case "/readyz": ("GET", .ready)
        case "/status": ("GET", .status)
        case "/metrics": ("GET", .metrics)
        case "/unload": ("POST", .unload)
        case "/vram_status": ("GET", .memory)
        case "/clear_vram": ("POST", .clearMemory)
        case "/v1/chat/completions": ("POST", .chatCompletions)
        case "/v1/completions": ("POST", .completions)
        case "/models": ("GET", .repositories)
        case "/v1/models": ("GET", .models)
        case "/v1/tokenize": ("POST", .tokenize)
        case "/v1/detokenize": ("POST", .detokenize)
        case "/_auth": ("GET", .authentication)
        default:
            if path.hasPrefix("/v1/models/"), path.utf8.count < 512 {
                ("GET", .model(String(path.dropFirst("/v1/models/".count))))
            } else if path.hasPrefix("/v1/streams/"), path.utf8.count < 256 {
                ("GET", .stream(String(path.dropFirst("/v1/streams/".count))))
            } else {
                nil
            }
        }
    }
}
