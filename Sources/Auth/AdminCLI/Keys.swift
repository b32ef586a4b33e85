public import ArgumentParser
import Foundation
import KeyStore

/// `torchgate keys …`: the operator's commands over API keys.
///
/// They work beside a running server, which notices a change within 100 ms.
public struct Keys: ParsableCommand {
    /// Name, abstract and subcommands.
    public static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Create, list, show and revoke API keys.",
        subcommands: [
            KeysCreate.self, KeysList.self, KeysShow.self, KeysRevoke.self, KeysAudit.self,
        ]
    )

    /// Called by the argument parser.
    public init() {}
}

/// Where the store is; the same options on every command.
struct StateOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The server's state directory.",
            discussion: "Default: TORCHGATE_STATE_DIR, else /var/lib/torchgate."
        )
    )
    var stateDir: String?

    @Option(
        help: ArgumentHelp(
            "The file of the pepper that keys are digested with.",
            discussion: "Default: TORCHGATE_PEPPER_FILE, else `pepper` in the state directory."
        )
    )
    var pepperFile: String?

    var files: StateFiles {
        let environment = ProcessInfo.processInfo.environment
        return StateFiles(
            state: stateDir ?? environment["TORCHGATE_STATE_DIR"] ?? "/var/lib/torchgate",
            pepper: pepperFile ?? environment["TORCHGATE_PEPPER_FILE"]
        )
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
