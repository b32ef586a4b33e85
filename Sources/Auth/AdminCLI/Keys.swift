public import ArgumentParser
import Foundation
import KeyStore
public import Synchronization

/// `torchgate keys …`: the operator's commands over API keys.
///
/// They work beside a running server, which notices a change within 100 ms.
public struct Keys: ParsableCommand {
    /// Name, abstract and subcommands.
    public static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Create, list, show, change and revoke API keys.",
        subcommands: [
            KeysCreate.self, KeysList.self, KeysShow.self, KeysSet.self, KeysRevoke.self,
            KeysAudit.self,
        ]
    )

    /// Called by the argument parser.
    public init() {}
}

/// What the server's settings say about the state directory.
public enum StateDirectory {
    /// Reads `paths.state_dir` from the server's files; its argument is `--config`.
    ///
    /// Set once by the program, before its commands run; without it the default holds.
    public static let fromSettings = Mutex<(@Sendable (String?) throws -> String)?>(nil)
}

/// Where the store is; the same options on every command.
struct StateOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The server's state directory.",
            discussion: "Default: the server's setting paths.state_dir."
        )
    )
    var stateDir: String?

    @Option(help: "The server's settings; default /etc/torchgate/torchgate.yaml if there is one.")
    var config: String?

    @Option(
        help: ArgumentHelp(
            "The file of the pepper that keys are digested with.",
            discussion: "Default: TORCHGATE_PEPPER_FILE, else `pepper` in the state directory."
        )
    )
    var pepperFile: String?

    var files: StateFiles {
        get throws {
            StateFiles(
                state: try directory,
                pepper: pepperFile ?? ProcessInfo.processInfo.environment["TORCHGATE_PEPPER_FILE"]
            )
        }
    }

    /// The flag, else the setting by the server's rule: the environment, the exact name first, then files.
    private var directory: String {
        get throws {
            if let stateDir { return stateDir }
            let environment = ProcessInfo.processInfo.environment
            for name in ["TORCHGATE_PATHS_STATE_DIR", "TORCHGATE_STATE_DIR"] {
                guard let path = environment[name] else { continue }
                guard !path.isEmpty else { throw ValidationError("\(name) is empty") }
                return path
            }
            let read = StateDirectory.fromSettings.withLock { $0 }
            return try read?(config) ?? "/var/lib/torchgate"
        }
    }

    func validate() throws {
        guard stateDir != "", pepperFile != "" else { throw ValidationError("an empty path") }
    }
}

/// Checks the spelling of an id, so that a whole key pasted by mistake is not looked up or
/// repeated.
func validateID(_ id: String) throws {
    guard KeyFormat.isID(id) else {
        throw ValidationError(
            "a key's id has 12 letters and digits; `torchgate keys list` shows it"
        )
    }
}
