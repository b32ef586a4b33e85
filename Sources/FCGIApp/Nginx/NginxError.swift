/// Errors that nginx makes itself, in the API's form.
enum NginxError {
    private struct Page {
        /// What nginx decided.
        let codes: [Int]
        /// What the client gets.
        let status: Int
        let message: String
        let type: String
        let code: String
        var headers: [(String, String)] = []
    }

    private static let retry = [
        ("Retry-After", "1"), ("retry-after-ms", "1000"), ("x-should-retry", "true"),
    ]

    private static let pages = [
        Page(
            codes: [400, 494, 495, 496, 497],
            status: 400,
            message: "Malformed request.",
            type: "invalid_request_error",
            code: "bad_request"
        ),
        Page(
            codes: [401],
            status: 401,
            message:
                "Incorrect API key provided: $shown_key. Send a valid key as 'Authorization: Bearer <key>'.",
            type: "invalid_request_error",
            code: "invalid_api_key"
        ),
        Page(
            codes: [403],
            status: 403,
            message: "This key may not use this resource.",
            type: "invalid_request_error",
            code: "insufficient_scope"
        ),
        Page(
            codes: [404],
            status: 404,
            message: "Unknown request URL.",
            type: "invalid_request_error",
            code: "unknown_url"
        ),
        Page(
            codes: [405],
            status: 405,
            message: "Method not allowed.",
            type: "invalid_request_error",
            code: "method_not_allowed"
        ),
        Page(
            codes: [408],
            status: 408,
            message: "The request did not arrive in time.",
            type: "invalid_request_error",
            code: "request_timeout"
        ),
        Page(
            codes: [413],
            status: 413,
            message: "The request body is too large.",
            type: "invalid_request_error",
            code: "request_too_large"
        ),
        Page(
            codes: [414],
            status: 414,
            message: "The request URL is too long.",
            type: "invalid_request_error",
            code: "url_too_long"
        ),
        Page(
            codes: [429],
            status: 429,
            message: "Rate limit reached. Please try again in 1 s.",
            type: "rate_limit_error",
            code: "rate_limit_exceeded",
            headers: retry
        ),
        Page(
            // nginx's own 500 is a key that could not be checked, or a body that could not be kept:
            // both pass. The server's own 500 does not come here.
            codes: [500, 501, 502, 503, 505],
            status: 503,
            message: "The server is overloaded or restarting.",
            type: "server_error",
            code: "server_overloaded",
            headers: retry
        ),
        Page(
            codes: [504],
            status: 504,
            message: "The server did not answer in time.",
            type: "server_error",
            code: "upstream_timeout"
        ),
    ]

    /// The paths of the API whose errors have the form `{"detail": …}`.
    private static let otherAPI = "^/(api/v1/|vram_status$|clear_vram$)"

    /// The `error_page` lines.
    static var directives: String {
        pages.map { page in
            "    error_page \(page.codes.map(String.init).joined(separator: " ")) =\(page.status) @e\(page.status);"
        }.joined(separator: "\n")
    }

    /// The locations that answer.
    ///
    /// On the paths of another API errors have that API's form.
    ///
    /// `isSecure`: whether the server speaks TLS; only there HSTS may be said.
    static func locations(isSecure: Bool) -> String {
        let security = isSecure ? [("Strict-Transport-Security", "max-age=63072000")] : []
        return pages.map { page in
            let headers =
                ([("x-request-id", "$rid")] + security + page.headers)
                .map { "      add_header \($0.0) \"\($0.1)\" always;" }
            return """
                    location @e\(page.status) {
                      default_type application/json;
                \(headers.joined(separator: "\n"))
                      if ($uri ~ "\(otherAPI)") { return \(page.status) '{"detail":"\(page.message.replacing("'", with: "\\'"))"}'; }
                      return \(page.status) '\(json(page.message, type: page.type, code: page.code))';
                    }
                """
        }.joined(separator: "\n")
    }

    /// The body with its four keys; single quotes are escaped for nginx.
    static func json(_ message: String, type: String, code: String) -> String {
        let text = message.replacing("'", with: "\\'")
        return
            "{\"error\":{\"message\":\"\(text)\",\"type\":\"\(type)\",\"param\":null,\"code\":\"\(code)\"}}"
    }
}
