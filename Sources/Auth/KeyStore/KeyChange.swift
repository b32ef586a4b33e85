import Foundation

extension KeySettings {
    /// The settings that a key has.
    init(of record: KeyRecord) {
        self.init(name: record.name)
        owner = record.owner
        scopes = record.scopes
        models = record.models
        rpm = record.rpm
        tpm = record.tpm
        maxParallel = record.maxParallel
        budgetPerDay = record.budgetPerDay
        weight = record.weight
        expires = record.expires
    }

    /// What differs, as `name=value` in the words of the command's options.
    func differences(from old: KeySettings) -> [String] {
        zip(words, old.words).filter { $0 != $1 }.map { new, _ in "\(new.name)=\(new.value)" }
    }

    private var words: [(name: String, value: String)] {
        func text(_ limit: Int?) -> String { limit.map(String.init) ?? "none" }
        return [
            ("name", name), ("scopes", scopes.map(\.rawValue).sorted().joined(separator: ",")),
            ("models", models.isEmpty ? "all" : models.joined(separator: ",")), ("rpm", text(rpm)),
            ("tpm", text(tpm)), ("max-parallel", text(maxParallel)),
            ("budget", text(budgetPerDay)), ("weight", String(weight)),
            ("expires", expires.map { $0.ISO8601Format() } ?? "never"),
        ]
    }
}
