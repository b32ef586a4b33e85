import ArgumentParser
import Foundation
import Glibc
import JSON
import KeyStore

struct KeysCreate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a key and show it, once."
    )

    @OptionGroup var state: StateOptions

    @Option(help: "Name that people know the key by.")
    var name: String

    @Option(help: "Whose sessions and quota the key shares. Default: the key's own id.")
    var owner: String?

    @Option(help: "What the key may do: infer, media:url, media:file, admin; separated by commas.")
    var scopes = "infer"

    @Option(
        parsing: .upToNextOption,
        help: "Globs of the model ids it may use; separated by spaces or commas. Default: all."
    )
    var models: [String] = []

    @Option(help: "Requests per minute. Default: the server's.")
    var rpm: Int?

    @Option(help: "Tokens per minute. Default: the server's.")
    var tpm: Int?

    @Option(help: "Requests in flight at once. Default: the server's.")
    var maxParallel: Int?

    @Option(help: ArgumentHelp("Tokens per day (UTC).", valueName: "N/day"))
    var budget: String?

    @Option(help: "Share of the engine relative to other keys, 1 to 1000.")
    var weight = 1

    @Option(help: "How long the key holds: 90d, 12h, 30m, 8w or never.")
    var expires = "90d"

    @Flag(help: "Print JSON: id and key.")
    var json = false

    @Option(help: "Write the key into a new file that only you can read, and do not print it.")
    var out: String?

    func validate() throws {
        do {
            try settings(now: Date()).validate(now: Date())
        } catch let error as KeyStoreError {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        // A reader that has gone must not end the process between making the key and undoing it.
        signal(SIGPIPE, SIG_IGN)
        if let out, access(out, F_OK) == 0 { throw CommandFailure("\(out) exists already") }
        let keys = try KeyAdministration.open(state.files, create: true)
        let created = try keys.create(settings(now: Date()))
        do {
            try handOut(created)
        } catch {
            let reason = "could not be handed out when it was made"
            _ = try? keys.revoke(id: created.record.id, reason: reason)
            throw CommandFailure("\(error); the new key \(created.record.id) was revoked")
        }
    }

    private func handOut(_ created: CreatedKey) throws {
        let id = created.record.id
        if let out {
            try PrivateFile.write(Array("\(created.key)\n".utf8), to: out)
            let answer = JSONObject([("id", .string(id)), ("file", .string(out))])
            try Output.write(json ? JSONValue.object(answer).text() + "\n" : "\(id)\n")
        } else if json {
            let answer = JSONObject([("id", .string(id)), ("key", .string(created.key))])
            try Output.write(JSONValue.object(answer).text() + "\n")
        } else {
            try Output.write(created.key + "\n")
        }
        guard !json else { return }
        let end = created.record.expires.map { "expires \(RecordText.time($0))" } ?? "never expires"
        Output.notice("key \(id) (\(created.record.name)) \(end)")
        if out == nil { Output.notice("this is the only time the key is shown: store it now") }
    }

    private func settings(now: Date) throws -> KeySettings {
        var settings = KeySettings(name: name)
        settings.owner = owner
        settings.scopes = try Quantity.scopes(scopes)
        settings.models = Quantity.globs(models)
        settings.rpm = rpm
        settings.tpm = tpm
        settings.maxParallel = maxParallel
        settings.budgetPerDay = try budget.map(Quantity.perDay)
        settings.weight = weight
        settings.expires = try Quantity.lifetime(expires).map { now.addingTimeInterval($0) }
        return settings
    }
}
