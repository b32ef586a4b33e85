import JSON
import OpenAI
import Testing

@Suite struct APIErrorTests {
    @Test(arguments: [
        (APIError.missing("a"), 400, "invalid_request_error", "missing_required_parameter"),
        (.invalidType("a", expected: "x", got: 1), 400, "invalid_request_error", "invalid_type"),
        (.invalidValue("a", "b"), 400, "invalid_request_error", "invalid_value"),
        (.unsupportedValue("a", "b"), 400, "invalid_request_error", "unsupported_value"),
        (
            .contextLengthExceeded(limit: 10, prompt: 8, completion: 5), 400,
            "invalid_request_error",
            "context_length_exceeded"
        ),
        (.invalidAPIKey(presented: nil), 401, "invalid_request_error", "invalid_api_key"),
        (
            .insufficientScope("admin", command: "c"), 403, "invalid_request_error",
            "insufficient_scope"
        ),
        (.modelNotAllowed("m"), 403, "invalid_request_error", "model_not_allowed"),
        (.modelNotFound("m"), 404, "invalid_request_error", "model_not_found"),
        (.unknownURL(method: "GET", path: "/x"), 404, "invalid_request_error", "unknown_url"),
        (.sessionNotFound, 404, "invalid_request_error", "session_not_found"),
        (.methodNotAllowed("PUT"), 405, "invalid_request_error", "method_not_allowed"),
        (.requestTimeout, 408, "invalid_request_error", "request_timeout"),
        (.sessionConflict, 409, "invalid_request_error", "session_conflict"),
        (.eventsExpired(first: 3), 409, "invalid_request_error", "events_expired"),
        (.requestTooLarge(limit: 1), 413, "invalid_request_error", "request_too_large"),
        (.unsupportedMediaType, 415, "invalid_request_error", "unsupported_media_type"),
        (
            .rateLimitExceeded("requests", retryAfter: 2), 429, "rate_limit_error",
            "rate_limit_exceeded"
        ),
        (.insufficientQuota(retryAfter: nil), 429, "rate_limit_error", "insufficient_quota"),
        (.serverOverloaded(retryAfter: 1), 503, "server_error", "server_overloaded"),
        (.modelLoading(retryAfter: 1), 503, "server_error", "model_loading"),
        (.modelLoadFailed("a", retryAfter: 1), 503, "server_error", "model_load_failed"),
        (.draining(retryAfter: 1), 503, "server_error", "draining"),
        (.internalError, 500, "server_error", "internal_error"),
        (.templateError("a"), 500, "server_error", "template_error"),
        (.upstreamTimeout, 504, "server_error", "upstream_timeout"),
        (.engineFailed, 500, "server_error", "engine_failed"),
        (.requestCancelled, 500, "server_error", "request_cancelled"),
    ])
    func `each error has its row of the catalogue and four keys`(
        _ error: APIError,
        _ status: Int,
        _ type: String,
        _ code: String
    ) throws {
        #expect(error.status == status)
        let inner = try #require(try JSONValue.parse(error.body)["error"]?.object)
        #expect(inner.keys == ["message", "type", "param", "code"])
        #expect(inner["type"]?.string == type)
        #expect(inner["code"]?.string == code)
        #expect(inner["message"]?.string?.isEmpty == false)
    }

    @Test func `a parse error says where and quotes nothing`() throws {
        do {
            _ = try JSONValue.parse("{\"secret\": nope}")
            Issue.record("parsed")
        } catch {
            let answer = APIError.invalidJSON(error)
            #expect(answer.status == 400)
            #expect(answer.code == "invalid_json")
            #expect(!answer.message.contains("secret"))
        }
    }

    @Test func `a key in an error is masked`() {
        let key = "sk-tg-abcdefghijkl-0123456789abcdefghijABCDEFGHIJ01aaBBcc"
        let message = APIError.invalidAPIKey(presented: key).message
        #expect(message.contains("sk-tg-****BBcc"))
        #expect(!message.contains("0123"))
        #expect(APIError.mask("short-key") == "****")
        #expect(APIError.mask(String(repeating: "\n", count: 40)) == "****")
    }

    @Test func `quotes are short and printable`() {
        #expect(APIError.quote("m\u{0}\u{202E}x\n") == "m??x?")
        #expect(APIError.quote(String(repeating: "é", count: 65)).unicodeScalars.count == 65)
        #expect(APIError.quote(String(repeating: "é", count: 64)).unicodeScalars.count == 64)
    }

    @Test func `only what can succeed later is to be retried`() {
        #expect(APIError.serverOverloaded(retryAfter: 1).shouldRetry)
        #expect(APIError.rateLimitExceeded("x", retryAfter: 1).shouldRetry)
        #expect(!APIError.insufficientQuota(retryAfter: 9).shouldRetry)
        #expect(!APIError.requestCancelled.shouldRetry)
        #expect(!APIError.sessionConflict.shouldRetry)
    }
}
