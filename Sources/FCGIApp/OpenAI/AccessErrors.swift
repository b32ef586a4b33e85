// Faults of the caller's rights and of the address.
extension APIError {
    /// 401: missing, malformed, unknown, revoked or expired, with one message for all.
    public static func invalidAPIKey(presented: String?) -> APIError {
        APIError(
            status: 401,
            type: .invalidRequest,
            code: "invalid_api_key",
            message: "Incorrect API key provided: \(mask(presented ?? "")). "
                + "Send a valid key as 'Authorization: Bearer <key>'."
        )
    }

    /// The first 6 and last 4 characters of a long key, else nothing but asterisks.
    public static func mask(_ key: String) -> String {
        let visible = key.unicodeScalars.allSatisfy { $0.isASCII && $0.value > 0x20 }
        guard visible, key.utf8.count >= 24 else { return "****" }
        return "\(key.prefix(6))****\(key.suffix(4))"
    }

    /// 403: the key lacks a scope; `command` is what an operator does about it.
    public static func insufficientScope(_ scope: String, command: String) -> APIError {
        forbidden(
            "insufficient_scope",
            "This key lacks the scope '\(quote(scope))'. An operator grants it with: \(command)"
        )
    }

    /// 403: the key may not name such a source of media; `command` is what an operator does about it.
    public static func mediaSourceForbidden(_ scope: String, param: String, command: String)
        -> APIError
    {
        forbidden(
            "insufficient_scope",
            "This key lacks the scope '\(scope)', which this source of media needs. "
                + "An operator grants it with: \(command)",
            param: param
        )
    }

    /// 403: the key may not use the model.
    public static func modelNotAllowed(_ model: String) -> APIError {
        forbidden(
            "model_not_allowed",
            "This key may not use the model '\(quote(model))'.",
            param: "model"
        )
    }

    private static func forbidden(_ code: String, _ message: String, param: String? = nil)
        -> APIError
    {
        APIError(status: 403, type: .invalidRequest, code: code, param: param, message: message)
    }

    /// 404: no such model, or none that the key may know of.
    public static func modelNotFound(_ model: String) -> APIError {
        APIError(
            status: 404,
            type: .invalidRequest,
            code: "model_not_found",
            param: "model",
            message: "The model '\(quote(model))' does not exist or you do not have access to it."
        )
    }

    /// 404: no such path.
    public static func unknownURL(method: String, path: String) -> APIError {
        APIError(
            status: 404,
            type: .invalidRequest,
            code: "unknown_url",
            message: "Unknown request URL: \(quote(method)) \(quote(path))."
        )
    }

    /// 404: an unknown session, or one of another owner: the two read the same.
    public static let sessionNotFound = APIError(
        status: 404,
        type: .invalidRequest,
        code: "session_not_found",
        param: "session_id",
        message: "There is no session with this id."
    )

    /// 405: the path exists, the method does not.
    public static func methodNotAllowed(_ method: String) -> APIError {
        APIError(
            status: 405,
            type: .invalidRequest,
            code: "method_not_allowed",
            message: "This URL does not take the method \(quote(method))."
        )
    }

    /// 408: the body did not arrive in time.
    public static let requestTimeout = APIError(
        status: 408,
        type: .invalidRequest,
        code: "request_timeout",
        message: "The request did not arrive in time."
    )

    /// 409: one's own session id with another body.
    public static let sessionConflict = APIError(
        status: 409,
        type: .invalidRequest,
        code: "session_conflict",
        param: "session_id",
        message: "This session_id is in use with another request body."
    )

    /// 409: the events asked for are not kept any more; nil where none are.
    public static func eventsExpired(first: Int?) -> APIError {
        APIError(
            status: 409,
            type: .invalidRequest,
            code: "events_expired",
            param: "last_event_id",
            message: "The events after this id are no longer kept"
                + (first.map { "; the first one kept is \($0)." } ?? ".")
        )
    }

    /// 404: the caller has no stream of this name, running or lately finished.
    public static func streamNotFound(_ id: String) -> APIError {
        APIError(
            status: 404,
            type: .invalidRequest,
            code: "stream_not_found",
            message: "You have no stream '\(quote(id))'. Finished ones are kept for a while only."
        )
    }

    /// 413: the body is larger than `limit` bytes.
    public static func requestTooLarge(limit: Int) -> APIError {
        APIError(
            status: 413,
            type: .invalidRequest,
            code: "request_too_large",
            message: "The request body is larger than \(limit) bytes."
        )
    }

    /// 415: the body is not `application/json`.
    public static let unsupportedMediaType = APIError(
        status: 415,
        type: .invalidRequest,
        code: "unsupported_media_type",
        message: "The request body must be sent as 'Content-Type: application/json'."
    )
}
