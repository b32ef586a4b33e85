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
