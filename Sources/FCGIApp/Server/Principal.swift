internal import KeyStore

/// Who makes a request: the holder of a live key, or anybody where authentication is off.
struct Principal: Sendable {
    /// The key's public id; `-` without authentication.
    let keyID: String
    /// Who owns streams and sessions; outlives the rotation of keys.
    let owner: String
    /// The key's own limits, or the default ones.
    let limits: KeyBudget.Limits
    /// The key's share of the engine against other keys.
    let weight: Int
    /// Nil for anybody.
    private let key: KeyRecord?

    init(_ key: KeyRecord, standard: KeyBudget.Limits) {
        self.key = key
        keyID = key.id
        owner = key.owner
        limits = KeyBudget.Limits(
            requests: key.rpm ?? standard.requests,
            tokens: key.tpm,
            parallel: key.maxParallel,
            daily: key.budgetPerDay.map { KeyBudget.Daily(owner: key.owner, tokens: $0) }
        )
        weight = key.weight
    }

    private init() {
        key = nil
        keyID = "-"
        owner = "-"
        limits = KeyBudget.Limits()
        weight = 1
    }

    /// Everybody, where `auth.enabled` is false (loopback only).
    static let anybody = Principal()

    /// Whether the caller may do what needs this scope.
    func has(_ scope: Scope) -> Bool { key.map { $0.scopes.contains(scope) } ?? true }

    /// The command that lets this key do what needs a further scope.
    func commandGranting(_ scope: Scope) -> String {
        let scopes = (key?.scopes ?? []).union([scope]).map(\.rawValue).sorted()
        return "torchgate keys set \(keyID) --scopes \(scopes.joined(separator: ","))"
    }

    /// Whether the caller may use the model.
    func mayUse(model: String) -> Bool { key.map { $0.allows(model: model) } ?? true }
}
