/// An error as the API shows it: one HTTP status and a body with the four keys of OpenAI's contract.
///
/// Messages come from the catalogue below; what they quote of a request is short and printable.
public struct APIError: Error, Sendable, Equatable {
    /// HTTP status; for an error inside a stream, the status it would have had before the stream.
    public var status: Int
    /// OpenAI's class of the error.
    public var type: Kind
    /// Catalogue code, such as `context_length_exceeded`.
    public var code: String?
    /// The field of the request that is at fault, as a path such as `messages[2].role`.
    public var param: String?
    /// One or two sentences for people.
    public var message: String
    /// Goes out as `Retry-After`, in whole seconds.
    public var retryAfterSeconds: Int?

    /// OpenAI's classes of errors, as `type` spells them.
    public enum Kind: String, Sendable {
        /// The request is wrong.
        case invalidRequest = "invalid_request_error"
        /// The caller asked too often.
        case rateLimit = "rate_limit_error"
        /// The server is at fault, or busy.
        case server = "server_error"
    }

    /// Creates an error; prefer the catalogue.
    public init(
        status: Int,
        type: Kind,
        code: String?,
        param: String? = nil,
        message: String,
        retryAfterSeconds: Int? = nil
    ) {
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.message = message
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// What `x-should-retry` says: whether the same request can succeed later.
    public var shouldRetry: Bool {
        switch status {
        case 408, 429, 502, 503, 504: code != "insufficient_quota"
        default: false
        }
    }

    /// The body: `{"error":{"message":…,"type":…,"param":…,"code":…}}`, always with four keys.
    public var body: [UInt8] {
        var output: [UInt8] = []
        appendBody(to: &output)
        return output
    }

    /// Appends the body; the same object is the `data:` of an error event in a stream.
    public func appendBody(to output: inout [UInt8]) {
        output.append(literal: "{\"error\":{\"message\":")
        output.append(json: message)
        output.append(literal: ",\"type\":")
        output.append(json: type.rawValue)
        output.append(literal: ",\"param\":")
        output.append(json: param)
        output.append(literal: ",\"code\":")
        output.append(json: code)
        output.append(literal: "}}")
    }

    /// At most 64 characters of a client's text for a message, without control characters.
    public static func quote(_ text: String) -> String {
        let limit = 64
        var quoted = ""
        for scalar in text.unicodeScalars.prefix(limit) {
            quoted.unicodeScalars.append(scalar.properties.isPrintable ? scalar : "?")
        }
        return text.unicodeScalars.dropFirst(limit).isEmpty ? quoted : quoted + "…"
    }
}

extension Unicode.Scalar.Properties {
    /// Neither a control, format, surrogate, private-use nor unassigned character, nor a line break.
    fileprivate var isPrintable: Bool {
        switch generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator:
            false
        default: true
        }
    }
}
