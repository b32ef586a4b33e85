extension Tokenizer {
    /// The tokenizer of models that read plain UTF-8: each byte is the token of its value, 256 in all.
    ///
    /// There are no special tokens; text of a client can spell none.
    public static func bytes() -> Tokenizer {
        var vocabulary = Vocabulary(capacity: 256)
        for (byte, character) in ByteAlphabet.characters.enumerated() {
            _ = vocabulary.add(character, id: byte)
        }
        var parts = TokenizerParts(vocabulary: vocabulary)
        parts.preTokenizer = PreTokenizer(isByteLevel: true)
        return Tokenizer(parts)
    }
}
