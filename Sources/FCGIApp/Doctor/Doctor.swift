// Checks a machine before, while or after it serves: settings in, findings out.
//
// 1. Nothing is changed: no file of the server's is written, no socket of it is bound.
// 2. A check never ends the program; what cannot be looked at is skipped and says why.
// 3. The engine's socket is never connected to: that would start an engine, or take the front's place.

public import Checkpoints
internal import Glibc
public import KeyStore
public import Nginx
public import Settings

/// Checks one machine.
///
/// Runs in the caller's thread; takes a second or two, most of it the engine's start.
public struct Doctor {
    /// The settings that the server would run with.
    public var settings: Settings
    /// nginx's configuration for them.
    public var nginx: NginxConfiguration
    /// nginx's program.
    public var nginxProgram = "/usr/sbin/nginx"
    /// Where the key store's files are.
    public var keys: StateFiles
    /// The engine's program.
    public var engine: String
    /// The decoder's program.
    public var media: String
    /// This program's version, which the others' should equal.
    public var version: String
    /// The models that can be served.
    public var models: [CatalogEntry]
    /// Reads config, tokeniser and template as the server does; says why it cannot.
    public var readModel: (CatalogEntry) -> String?

    /// Takes what is to be checked.
    public init(
        settings: Settings,
        nginx: NginxConfiguration,
        keys: StateFiles,
        engine: String,
        media: String,
        version: String,
        models: [CatalogEntry],
        readModel: @escaping (CatalogEntry) -> String?
    ) {
        self.settings = settings
        self.nginx = nginx
        self.keys = keys
        self.engine = engine
        self.media = media
        self.version = version
        self.models = models
        self.readModel = readModel
    }

    /// All checks.
    public func examine() -> [Finding] {
        state() + catalog() + [engineProgram(), mediaProgram()] + gpu() + sockets()
            + nginxProgramAndFiles()
            + certificates() + ports() + [fileLimit(), spool(), memory(), clock()]
    }

    /// Whether files may be judged and ports bound as the server's units do.
    var isRoot: Bool { geteuid() == 0 }

    var isProduction: Bool { settings.server.mode == .production }
}
