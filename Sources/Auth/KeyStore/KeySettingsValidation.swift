public import Foundation

extension KeySettings {
    /// Checks every setting against its range.
    ///
    /// - Throws: ``KeyStoreError/invalidSetting(_:)`` that names the setting.
    public func validate(now: Date) throws(KeyStoreError) {
        try Self.validateText(name, as: "the name")
        if let owner { try Self.validateText(owner, as: "the owner") }
        guard !scopes.isEmpty else { throw .invalidSetting("a key needs at least one scope") }
        guard models.count <= 100 else { throw .invalidSetting("at most 100 model globs") }
        for glob in models { try Self.validateText(glob, as: "a model glob") }
        let limits = [
            ("rpm", rpm), ("tpm", tpm), ("max-parallel", maxParallel), ("budget", budgetPerDay),
        ]
        for case (let name, let value?) in limits where !(1...1_000_000_000_000).contains(value) {
            throw .invalidSetting("\(name) must be between 1 and 1000000000000")
        }
        guard (1...1000).contains(weight) else {
            throw .invalidSetting("weight must be between 1 and 1000")
        }
        // 253402300800 is the first second of the year 10000.
        if let expires, expires <= now || expires.timeIntervalSince1970 >= 253_402_300_800 {
            throw .invalidSetting("the expiry must lie in the future, before the year 10000")
        }
    }

    /// Texts go into tables and logs: one line, no control characters, at most 200 bytes.
    static func validateText(
        _ text: String,
        as what: String,
        allowEmpty: Bool = false
    ) throws(KeyStoreError) {
        guard allowEmpty || !text.isEmpty else {
            throw .invalidSetting("\(what) must not be empty")
        }
        guard text.utf8.count <= 200 else {
            throw .invalidSetting("\(what) must be at most 200 bytes long")
        }
        let bad = text.unicodeScalars.contains {
            switch $0.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
            default: false
            }
        }
        guard !bad else { throw .invalidSetting("\(what) must not contain control characters") }
    }
}
