internal import Foundation

/// Variables of servers that came before: who moves here keeps them.
///
/// They hold like our own variables of the same source, but give way to those. Other programs use such names
/// too: what cannot be read as the setting is left aside and told, never an error.
public enum OtherServers {
    /// One variable.
    public struct Variable: Sendable {
        /// Its name in the environment.
        public let name: String
        /// The setting that it stands for; nil where there is none.
        public let key: String?
        /// What is done with it, for who reads the documentation.
        public let effect: String
        /// Its value in the setting's words; nil where it has no counterpart.
        let translate: @Sendable (String) -> String?

        init(
            _ name: String,
            _ key: String?,
            _ effect: String,
            _ translate: @escaping @Sendable (String) -> String? = { $0 }
        ) {
            self.name = name
            self.key = key
            self.effect = effect
            self.translate = translate
        }
    }

    /// All that are known.
    public static let variables: [Variable] = [
        Variable("PIPELINE_SERVER_HOST", "server.host", "address"),
        Variable("PIPELINE_SERVER_PORT", "server.port", "the HTTPS port"),
        Variable("PIPELINE_SERVER_TIMEOUT", "engine.idle_timeout", "seconds"),
        Variable("HOST", "server.host", "address"),
        Variable("PORT", "server.port", "the HTTPS port"),
        Variable(
            "MODEL_REPO_ID",
            "models.default",
            "a model's id, or its folder with a `/` first or `./`"
        ),
        Variable("INFERENCE_MODEL_ID", "models.default", "the same"),
        Variable("HF_TOKEN", nil, "no effect: nothing is downloaded"),
        Variable("MAX_TOKENS", "generation.max_tokens", "tokens"),
        Variable("MAX_NEW_TOKENS", "generation.max_tokens", "tokens"),
        Variable("TEMPERATURE", "generation.temperature", "0…2"),
        Variable("MAX_VIDEO_FRAMES", "media.video_frames", "frames"),
        Variable("DEVICE_MAP", "engine.device", "`auto`, `cpu`, `cuda` or `cuda:N`") { value in
            value.hasPrefix("cuda:") ? "cuda" : value
        },
        Variable("TORCH_DTYPE", "engine.dtype", "`auto`, `float32`, `bfloat16`, `float16`") {
            value in
            value.hasPrefix("torch.") ? String(value.dropFirst(6)) : value
        },
        Variable("INFERENCE_BNB_COMPUTE_DTYPE", "engine.dtype", "the same"),
        Variable("INFERENCE_ATTN_IMPLEMENTATION", nil, "no effect: the engine has one attention"),
        Variable("VRAM_THRESHOLD", "engine.vram_threshold", "0.05…1"),
        Variable("SESSIONS_TTL_SECONDS", "streams.ttl", "seconds"),
        Variable(
            "CANCEL_AFTER_DISCONNECT_SECONDS",
            "streams.cancel_after_disconnect",
            "seconds; 0 = until done"
        ),
        Variable("PERSIST_SESSIONS", nil, "no effect: sessions live in the server's memory"),
        Variable("SESSIONS_DB_PATH", nil, "no effect: sessions live in the server's memory"),
    ]

    /// The table of docs/configuration.md; a test compares the two.
    public static var markdown: String {
        let rows = variables.map { variable in
            "| `\(variable.name)` | \(variable.key.map { "`\($0)`" } ?? "–") | \(variable.effect) |"
        }
        return (["| variable | setting | value |", "|---|---|---|"] + rows).joined(separator: "\n")
            + "\n"
    }

    /// Lays those among `environment` over the settings; a line for the log of each, without its value.
    static func apply(_ environment: [String: String], to settings: inout Settings) -> [String] {
        variables.compactMap { variable in
            guard let value = environment[variable.name], !value.isEmpty else { return nil }
            guard let key = variable.key else { return "\(variable.name): \(variable.effect)" }
            guard let field = SettingsTable.fields.first(where: { $0.key == key }),
                let text = variable.translate(value)
            else { return nil }
            do throws(RawError) {
                if key == "models.default", let folder = folder(text) {
                    let name = folder.lastPathComponent
                    settings.models.settings[name, default: ModelSettings()].path = folder.path
                    settings.models.standard = name
                } else {
                    try field.read(.text(text), &settings)
                }
                return "\(variable.name) is taken as \(key); its name here is \(field.variable)"
            } catch {
                return "\(variable.name) is left aside: as \(key), \(error.problem)"
            }
        }
    }

    private static func folder(_ text: String) -> URL? {
        guard text.hasPrefix("/") || text.hasPrefix("./") || text.hasPrefix("../") else {
            return nil
        }
        return URL(fileURLWithPath: text).standardizedFileURL
    }
}
