/// Turns the tokens of one choice into text; the tokeniser's incremental decoder, or a test's.
public protocol TokenDecoder: Sendable {
    /// The text that a token completes: whole UTF-8 only, empty while a character is incomplete.
    mutating func append(_ token: Int32) -> String

    /// What is left at the end; an incomplete character becomes U+FFFD.
    mutating func finish() -> String

    /// The bytes of one token by itself, which need not be whole UTF-8.
    func bytes(of token: Int32) -> [UInt8]
}
