public import JSON

// Faults of the request's content: 400, each but the first with the field at fault.
extension APIError {
    /// 400: the body is not one JSON document.
    public static func invalidJSON(_ error: JSONError) -> APIError {
        .badRequest(code: "invalid_json", nil, "The body is not valid JSON: \(error).")
    }

    /// 400: a field that must be there is not.
    public static func missing(_ param: String) -> APIError {
        .badRequest(
            code: "missing_required_parameter",
            param,
            "Missing required parameter: '\(param)'."
        )
    }

    /// 400: a field has the wrong JSON type.
    public static func invalidType(
        _ param: String,
        expected: String,
        got value: JSONValue
    ) -> APIError {
        .badRequest(
            code: "invalid_type",
            param,
            "Invalid type for '\(param)': expected \(expected), got \(value.kind)."
        )
    }

    /// 400: a field has the right type and a value outside its range; `message` says which.
    public static func invalidValue(_ param: String, _ message: String) -> APIError {
        .badRequest(code: "invalid_value", param, "Invalid value for '\(param)': \(message)")
    }

    /// 400: a field asks for something that this server or model does not do.
    public static func unsupportedValue(_ param: String, _ message: String) -> APIError {
        .badRequest(
            code: "unsupported_value",
            param,
            "Unsupported value for '\(param)': \(message)"
        )
    }

    /// 400: prompt and answer do not fit into the context; the three numbers are tokens.
    public static func contextLengthExceeded(
        limit: Int,
        prompt: Int,
        completion: Int,
        param: String = "messages"
    ) -> APIError {
        .badRequest(
            code: "context_length_exceeded",
            param,
            """
            This model's maximum context length is \(limit) tokens. However, you requested \
            \(prompt) tokens in the prompt and \(completion) in the completion. Please reduce the \
            length of either.
            """
        )
    }

    private static func badRequest(code: String, _ param: String?, _ message: String) -> APIError {
        APIError(status: 400, type: .invalidRequest, code: code, param: param, message: message)
    }
}

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

    /// 403: the key lacks a scope.
    public static func insufficientScope(_ scope: String) -> APIError {
        forbidden("insufficient_scope", "This key lacks the scope '\(quote(scope))'.")
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

// The caller's limits, and the server's.
extension APIError {
    /// 429: the caller's own limit; `limit` names it, such as `requests per minute`.
    public static func rateLimitExceeded(_ limit: String, retryAfter seconds: Int) -> APIError {
        APIError(
            status: 429,
            type: .rateLimit,
            code: "rate_limit_exceeded",
            message: "Rate limit reached for this key: \(limit). "
                + "Please try again in \(seconds) s.",
            retryAfterSeconds: seconds
        )
    }

    /// 429: the key's budget is spent.
    public static func insufficientQuota(retryAfter seconds: Int?) -> APIError {
        APIError(
            status: 429,
            type: .rateLimit,
            code: "insufficient_quota",
            message: "The token budget of this key is spent.",
            retryAfterSeconds: seconds
        )
    }

    /// 503: the waiting queue is full.
    public static func serverOverloaded(retryAfter seconds: Int) -> APIError {
        unavailable("server_overloaded", "The server is at its capacity.", seconds)
    }

    /// 503: the model did not finish loading in the time a request waits.
    public static func modelLoading(retryAfter seconds: Int) -> APIError {
        unavailable("model_loading", "The model is still loading.", seconds)
    }

    /// 503: the model cannot be loaded; `message` is a sentence without paths.
    public static func modelLoadFailed(_ message: String, retryAfter seconds: Int?) -> APIError {
        unavailable("model_load_failed", message, seconds)
    }

    /// 503: the server is shutting down.
    public static func draining(retryAfter seconds: Int) -> APIError {
        unavailable("draining", "The server is shutting down.", seconds)
    }

    private static func unavailable(_ code: String, _ message: String, _ seconds: Int?) -> APIError
    {
        APIError(
            status: 503,
            type: .server,
            code: code,
            message: message,
            retryAfterSeconds: seconds
        )
    }

    /// 500: a fault of ours; the request id in the header is all the client learns.
    public static let internalError = APIError(
        status: 500,
        type: .server,
        code: "internal_error",
        message: "The server failed to answer. The request id in the headers helps to find out why."
    )

    /// 500: the model's chat template failed or ran out of its budget; `message` has no paths.
    public static func templateError(_ message: String) -> APIError {
        APIError(status: 500, type: .server, code: "template_error", message: message)
    }

    /// 504: the request's deadline passed.
    public static let upstreamTimeout = APIError(
        status: 504,
        type: .server,
        code: "upstream_timeout",
        message: "The request took longer than the server's deadline."
    )

    /// 500, mostly in a stream: the engine died under the request once too often.
    public static let engineFailed = APIError(
        status: 500,
        type: .server,
        code: "engine_failed",
        message: "The inference engine failed while it ran this request."
    )

    /// 500, mostly in a stream: someone with the right to do so ended the request.
    public static let requestCancelled = APIError(
        status: 500,
        type: .server,
        code: "request_cancelled",
        message: "The request was cancelled."
    )
}
