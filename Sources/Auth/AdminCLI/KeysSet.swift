import ArgumentParser
import Foundation
import JSON
import KeyStore

struct KeysSet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change what a key may do, its limits, name or end; the key itself stays."
    )

    @OptionGroup var state: StateOptions

    @Argument(help: "The key's id.")
    var id: String

    @Option(help: "Name that people know the key by.")
    var name: String?

    @Option(
        help: "All that the key may do: infer, media:url, media:file, admin; separated by commas."
    )
    var scopes: String?

    @Option(
        parsing: .upToNextOption,
        help: "Globs of the model ids it may use, separated by spaces or commas; or all."
    )
    var models: [String] = []

    @Option(help: "Requests per minute; none for the server's.")
    var rpm: String?

    @Option(help: "Tokens per minute; none for no limit.")
    var tpm: String?

    @Option(help: "Requests in flight at once; none for no limit.")
    var maxParallel: String?

    @Option(help: ArgumentHelp("Tokens per day (UTC), or none.", valueName: "N/day"))
    var budget: String?

    @Option(help: "Share of the engine relative to other keys, 1 to 1000.")
    var weight: Int?

    @Option(help: "How long the key holds from now: 90d, 12h, 30m, 8w or never.")
    var expires: String?

    @Flag(help: "Print the key's record as a JSON object.")
    var json = false

    func validate() throws {
        try validateID(id)
        let options = [name, scopes, rpm, tpm, maxParallel, budget, expires]
        guard options.contains(where: { $0 != nil }) || !models.isEmpty || weight != nil else {
            throw ValidationError("nothing to set; `torchgate keys set --help` shows what there is")
        }
        _ = try edit(now: Date())
    }

    func run() throws {
        let now = Date()
        let keys = try KeyAdministration.open(state.files, create: false)
        let (record, changed) = try keys.change(id: id, now: now, edit(now: now))
        if json {
            try Output.write(RecordText.json(record, now: now).text() + "\n")
        } else {
            let words = changed ? "changed" : "nothing to change:"
            try Output.write("\(words) \(id) (\(record.name))\n")
        }
    }

    /// The change that the options ask for.
    private func edit(now: Date) throws -> (inout KeySettings) -> Void {
        let scopes = try scopes.map(Quantity.scopes)
        let rpm = try rpm.map { try Quantity.limit($0, "--rpm") }
        let tpm = try tpm.map { try Quantity.limit($0, "--tpm") }
        let maxParallel = try maxParallel.map { try Quantity.limit($0, "--max-parallel") }
        let budget = try budget.map { $0 == "none" ? nil : try Quantity.perDay($0) }
        let lifetime = try expires.map(Quantity.lifetime)
        let globs = Quantity.globs(models)
        return { settings in
            if let name { settings.name = name }
            if let scopes { settings.scopes = scopes }
            if !globs.isEmpty { settings.models = globs == ["all"] ? [] : globs }
            if let rpm { settings.rpm = rpm }
            if let tpm { settings.tpm = tpm }
            if let maxParallel { settings.maxParallel = maxParallel }
            if let budget { settings.budgetPerDay = budget }
            if let weight { settings.weight = weight }
            if let lifetime { settings.expires = lifetime.map { now.addingTimeInterval($0) } }
        }
    }
}
