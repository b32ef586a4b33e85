/// The tokens that go around a text where special tokens are asked for (`post_processor` of
/// `tokenizer.json`).
struct PostProcessor: Sendable, Hashable {
    /// Before the text.
    var before: [Int32] = []
    /// After the text.
    var after: [Int32] = []

    /// This one inside another.
    func inside(_ outer: PostProcessor) -> PostProcessor {
        PostProcessor(before: outer.before + before, after: after + outer.after)
    }
}
