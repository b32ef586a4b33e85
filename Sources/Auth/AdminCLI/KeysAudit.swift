import ArgumentParser
import KeyStore

struct KeysAudit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Check the record of changes.",
        subcommands: [KeysAuditVerify.self]
    )
}

struct KeysAuditVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that no row of the audit log was changed or removed.",
        discussion: "Prints the hash of the newest row. Kept elsewhere, it proves the log later."
    )

    @OptionGroup var state: StateOptions

    func run() throws {
        let report = try KeyAdministration.open(state.files, create: false).verifyAudit()
        if let problem = report.problem { throw CommandFailure("audit log: \(problem)") }
        try Output.write("ok: \(report.rows) rows, head \(report.head)\n")
    }
}
