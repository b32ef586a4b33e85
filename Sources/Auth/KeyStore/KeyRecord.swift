public import Foundation

/// What a key may do.
public enum Scope: String, Sendable, Hashable, CaseIterable {
    /// Inference endpoints.
    case infer
    /// Media fetched by URL.
    case mediaURL = "media:url"
    /// Media read from the media root.
    case mediaFile = "media:file"
    /// Engine verbs such as unload; never the management of keys.
    case admin
}

/// A key's settings: everything about a key but its identity and its life.
public struct KeySettings: Sendable, Hashable {
    /// Name that people know the key by; not unique.
    public var name: String
    /// Whose sessions and quota the key shares; `nil` stands for the key's own id.
    public var owner: String?
    /// What the key may do.
    public var scopes: Set<Scope> = [.infer]
    /// Globs of model ids that the key may use; empty means all.
    public var models: [String] = []
    /// Requests per minute; `nil` means the server's default.
    public var rpm: Int?
    /// Tokens per minute; `nil` means the server's default.
    public var tpm: Int?
    /// Requests in flight at once; `nil` means the server's default.
    public var maxParallel: Int?
    /// Tokens per day (UTC); `nil` means no budget.
    public var budgetPerDay: Int?
    /// Share of the engine relative to other keys, 1…1000.
    public var weight = 1
    /// When the key ends; `nil` means never.
    public var expires: Date?

    /// Settings of a key that may infer with every model and never expires.
    public init(name: String) { self.name = name }
}

/// A key as the server and the operator see it; it holds nothing secret.
public struct KeyRecord: Sendable, Hashable, Identifiable {
    /// Public id, 12 base62 characters; may be logged.
    public let id: String
    /// Name that people know the key by; not unique.
    public let name: String
    /// Whose sessions and quota the key shares.
    public let owner: String
    /// What the key may do.
    public let scopes: Set<Scope>
    /// Globs of model ids that the key may use; empty means all.
    public let models: [String]
    /// Requests per minute; `nil` means the server's default.
    public let rpm: Int?
    /// Tokens per minute; `nil` means the server's default.
    public let tpm: Int?
    /// Requests in flight at once; `nil` means the server's default.
    public let maxParallel: Int?
    /// Tokens per day (UTC); `nil` means no budget.
    public let budgetPerDay: Int?
    /// Share of the engine relative to other keys, 1…1000.
    public let weight: Int
    /// When the key was made, to the second.
    public let created: Date
    /// First moment at which the key no longer holds; `nil` means never.
    public let expires: Date?
    /// When the key was revoked; `nil` while it is not.
    public let revokedAt: Date?
    /// Why the key was revoked.
    public let revokedReason: String?

    /// Whether the key is neither revoked nor expired at a moment of the wall clock.
    public func isLive(at now: Date) -> Bool {
        guard revokedAt == nil else { return false }
        guard let expires else { return true }
        return now < expires
    }

    /// Whether the key's list of models admits a model id.
    public func allows(model: String) -> Bool {
        models.isEmpty || models.contains { ModelGlob.matches($0, model) }
    }
}

/// Shell-like patterns over model ids: `*` is any run (slashes included), `?` one character.
public enum ModelGlob {
    /// Whether a whole text matches a pattern; time grows with the product of their lengths at
    /// worst.
    public static func matches(_ pattern: String, _ text: String) -> Bool {
        let pattern = Array(pattern.unicodeScalars)
        let text = Array(text.unicodeScalars)
        var p = 0
        var t = 0
        var star: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == "*" {
                star = (p, t)
                p += 1
            } else if p < pattern.count, pattern[p] == "?" || pattern[p] == text[t] {
                p += 1
                t += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                p = last.pattern + 1
                t = last.text + 1
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == "*" }
    }
}
