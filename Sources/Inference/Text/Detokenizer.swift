/// Turns one choice's tokens into text as they come.
///
/// It gives out whole scalars only, and all that it gives out, joined, is `Tokenizer.decode` of all
/// tokens. A value: copy it to look ahead.
public struct Detokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    private var state: TokenDecoder.State

    /// Before the first token; `skipSpecialTokens` says whether special tokens give no text.
    public init(tokenizer: Tokenizer, skipSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        state = tokenizer.decoder.initialState
    }

    /// The text that is certain after `id`.
    ///
    /// It may be empty: part of a character is kept until the rest comes, and so are runs of byte
    /// tokens of SentencePiece vocabularies. Unknown ids give none.
    public mutating func append(_ id: Int32) -> String {
        guard !skipSpecialTokens || !tokenizer.isSpecial(id), let token = tokenizer.stored(id)
        else { return "" }
        return String(decoding: tokenizer.decoder.append(token, to: &state), as: UTF8.self)
    }

    /// What was kept, with U+FFFD for bytes that are no text; the detokenizer is as new afterwards.
    public mutating func finish() -> String {
        String(decoding: tokenizer.decoder.finish(&state), as: UTF8.self)
    }
}
