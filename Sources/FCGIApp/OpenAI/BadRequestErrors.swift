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

    /// 400: an image or a clip cannot be used; `message` says why.
    public static func invalidMedia(_ part: MediaPart, _ message: String) -> APIError {
        .badRequest(
            code: "invalid_\(part.kind.rawValue)",
            part.param,
            "Invalid \(part.kind.rawValue) in '\(part.param)': \(message)."
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
