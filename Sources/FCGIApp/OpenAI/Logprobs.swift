/// One token of an answer with its log-probability and its best rivals.
public struct LogprobEntry: Sendable, Equatable {
    /// The token that was drawn.
    public var token: Token
    /// The most probable tokens, best first.
    public var top: [Token]
    /// Unicode scalars of the text before the token, `echo` included; completions only.
    public var textOffset: Int

    /// A token and its log-probability.
    public struct Token: Sendable, Equatable {
        /// The token's bytes, which need not be whole UTF-8.
        public var bytes: [UInt8]
        /// Natural logarithm of its probability.
        public var logprob: Float

        /// Creates a pair.
        public init(bytes: [UInt8], logprob: Float) {
            self.bytes = bytes
            self.logprob = logprob
        }

        /// The bytes as text, with U+FFFD for what is not UTF-8.
        var text: String { String(decoding: bytes, as: UTF8.self) }

        /// Appends the members `token`, `logprob` and `bytes` without braces.
        fileprivate func appendMembers(to output: inout [UInt8]) {
            output.append(literal: "\"token\":")
            output.append(json: text)
            output.append(literal: ",\"logprob\":")
            output.append(logprob: logprob)
            output.append(literal: ",\"bytes\":")
            output.append(array: bytes) { $0.append(json: Int($1)) }
        }
    }

    /// Creates an entry.
    public init(token: Token, top: [Token], textOffset: Int = 0) {
        self.token = token
        self.top = top
        self.textOffset = textOffset
    }
}

extension LogprobEntry {
    /// Appends chat's `{"content":[…],"refusal":null}`, or `null`.
    static func appendChat(_ entries: [LogprobEntry]?, to output: inout [UInt8]) {
        guard let entries else { return output.append(literal: "null") }
        output.append(literal: "{\"content\":")
        output.append(array: entries) { output, entry in
            output.append(literal: "{")
            entry.token.appendMembers(to: &output)
            output.append(literal: ",\"top_logprobs\":")
            output.append(array: entry.top) { output, token in
                output.append(literal: "{")
                token.appendMembers(to: &output)
                output.append(literal: "}")
            }
            output.append(literal: "}")
        }
        output.append(literal: ",\"refusal\":null}")
    }

    /// Appends the four parallel arrays of text completions, or `null`.
    static func appendText(_ entries: [LogprobEntry]?, to output: inout [UInt8]) {
        guard let entries else { return output.append(literal: "null") }
        output.append(literal: "{\"tokens\":")
        output.append(array: entries) { $0.append(json: $1.token.text) }
        output.append(literal: ",\"token_logprobs\":")
        output.append(array: entries) { $0.append(logprob: $1.token.logprob) }
        output.append(literal: ",\"top_logprobs\":")
        output.append(array: entries) { $1.appendRivals(to: &$0) }
        output.append(literal: ",\"text_offset\":")
        output.append(array: entries) { $0.append(json: $1.textOffset) }
        output.append(literal: "}")
    }

    /// Appends `{token: logprob}` of the best tokens and the chosen one, each name once.
    private func appendRivals(to output: inout [UInt8]) {
        var names: Set<String> = []
        output.append(literal: "{")
        for token in top + [self.token] where names.insert(token.text).inserted {
            if names.count > 1 { output.append(literal: ",") }
            output.append(json: token.text)
            output.append(literal: ":")
            output.append(logprob: token.logprob)
        }
        output.append(literal: "}")
    }
}
