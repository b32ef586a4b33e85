internal import FastCGI
internal import Foundation
internal import KeyStore
internal import OpenAI

/// The one place where a request gets a principal: denied unless a live key says otherwise.
///
/// nginx asks first (`/_auth`) with the whole credential and passes on only the key's id, which no
/// client can set. The record is looked up again by that id here, so that limits, scopes and
/// revocation are checked where the work is.
struct Gate: Sendable {
    let keys: KeyStore?
    let limiter: RateLimiter
    let standard: KeyBudget.Limits

    /// Answers nginx's first stage: 204 with the key's id, 401, or 503 where no key can be checked.
    func authenticate(_ call: Call) {
        guard let keys else { return call.send(status: 204, headers: [("X-Key-Id", "-")], []) }
        if keys.failure != nil { return call.send(APIError.serverOverloaded(retryAfter: 2)) }
        let presented = Self.credential(
            authorization: call.exchange.request.param("HTTP_AUTHORIZATION"),
            plain: call.exchange.request.param("HTTP_X_API_KEY")
        )
        guard let presented, case .accepted(let key) = keys.authenticate(presented) else {
            return call.send(APIError.invalidAPIKey(presented: presented))
        }
        call.send(status: 204, headers: [("X-Key-Id", key.id)], [])
    }

    /// The key in `Authorization: Bearer …`, else in `X-Api-Key`.
    ///
    /// Spaces may follow the scheme, as in nginx's map, and nothing is trimmed: a key that is
    /// accepted here must be one that nginx has counted.
    static func credential(authorization: String?, plain: String?) -> String? {
        if let authorization, !authorization.isEmpty {
            let scheme = authorization.utf8.prefix(6).map { $0 | 0x20 }
            let rest = authorization.utf8.dropFirst(6)
            guard scheme.elementsEqual("bearer".utf8), rest.first == UInt8(ascii: " ") else {
                return nil
            }
            return String(Substring(rest.drop { $0 == UInt8(ascii: " ") }))
        }
        guard let plain, !plain.isEmpty else { return nil }
        return plain
    }

    /// Sets the call's principal, checks the endpoint's scope and counts the request.
    /// - Throws: 401, 403 or 429.
    func admit(_ call: Call, to endpoint: Endpoint) throws(APIError) {
        switch endpoint.access {
        case .open: return
        case .loopbackOrAdmin:
            if call.exchange.request.param("TG_LOOPBACK") == "1" { return }
            try identify(call, needing: .admin)
        case .scope(let scope): try identify(call, needing: scope)
        }
        guard let principal = call.principal else { throw .internalError }
        try count(call, principal, counts: endpoint.countsAsRequest)
    }

    /// For addresses that do not exist: a live key is needed to hear even that.
    /// - Throws: 401.
    func admitAnything(_ call: Call) throws(APIError) {
        guard let keys else { return }
        guard let id = call.exchange.request.param("LLM_KEY_ID"), let key = keys.record(id: id)
        else {
            throw .invalidAPIKey(presented: nil)
        }
        call.principal = Principal(key, standard: standard)
    }

    private func identify(_ call: Call, needing scope: Scope) throws(APIError) {
        guard let keys else {
            call.principal = .anybody
            return
        }
        guard let id = call.exchange.request.param("LLM_KEY_ID"), let key = keys.record(id: id)
        else {
            throw .invalidAPIKey(presented: nil)
        }
        let principal = Principal(key, standard: standard)
        call.principal = principal
        guard principal.has(scope) else {
            let command = principal.commandGranting(scope)
            throw .insufficientScope(scope.rawValue, command: command)
        }
    }

    private func count(_ call: Call, _ principal: Principal, counts: Bool) throws(APIError) {
        let now = monotonicSeconds()
        let (wait, budget) = limiter.with(principal.keyID, principal.limits, now: now) { budget in
            (counts ? budget.admitRequest(now: now) : nil, budget)
        }
        call.limitHeaders = Self.headers(of: budget)
        if let wait {
            throw .rateLimitExceeded(
                "\(budget.limits.requests ?? 0) requests per minute",
                retryAfter: Int(wait.rounded(.up))
            )
        }
    }

    /// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.
    static func headers(of budget: KeyBudget) -> [(String, String)] {
        var headers: [(String, String)] = []
        for (name, bucket) in [("requests", budget.requests), ("tokens", budget.tokens)] {
            guard let bucket else { continue }
            headers.append(("x-ratelimit-limit-\(name)", String(Int(bucket.limit))))
            headers.append(("x-ratelimit-remaining-\(name)", String(max(0, Int(bucket.level)))))
            headers.append(("x-ratelimit-reset-\(name)", duration(bucket.reset)))
        }
        return headers
    }

    /// `1s`, `6m0s`.
    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(0, seconds.rounded(.up)), 1e9))
        return whole < 60 ? "\(whole)s" : "\(whole / 60)m\(whole % 60)s"
    }
}
