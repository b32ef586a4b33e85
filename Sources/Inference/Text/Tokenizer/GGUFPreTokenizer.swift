/// What the names of `tokenizer.ggml.pre` stand for: the pattern of the model's own tokenizer file,
/// and whether its words skip merging, are composed (NFC), and begin with BOS.
struct GGUFPreTokenizer {
    var stages: [PreTokenizer.Stage]
    var ignoreMerges = false
    var composes = false
    var addBOS = false

    private static let endings = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    private static let upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
    private static let lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
    private static let lead = "[^\\r\\n\\p{L}\\p{N}]?"
    private static let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    private static let cjk = "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+"

    private static let tekken =
        "\(lead)\(upper)*\(lower)+|\(lead)\(upper)+\(lower)*|\\p{N}"
        + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" + endings
    private static let o200k =
        "\(lead)\(upper)*\(lower)+\(contraction)|\(lead)\(upper)+\(lower)*\(contraction)"
        + "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" + endings
    private static let deepseek3 =
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
        + "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" + endings

    /// - Throws: `TokenizerError.unsupported` for names that are not known for certain.
    static func named(_ name: String) throws(TokenizerError) -> GGUFPreTokenizer {
        switch name {
        case "llama-bpe", "llama3", "llama-v3":
            return known(.cl100k(digits: 3, marks: false), ignoreMerges: true, addBOS: true)
        case "dbrx", "smaug-bpe", "glm4", "chatglm-bpe":
            return known(.cl100k(digits: 3, marks: false))
        case "qwen2", "deepseek-r1-qwen", "megrez":
            return known(.cl100k(digits: 1, marks: false), composes: true)
        case "stablelm2", "hunyuan": return known(.cl100k(digits: 1, marks: false))
        case "qwen35": return known(.cl100k(digits: 1, marks: true), composes: true)
        case "smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b":
            return known(.digitsThenGPT2)
        case "command-r": return known(.digitsThenGPT2, composes: true)
        case "gpt-2", "phi-2": return known(.gpt2)
        case "mpt", "olmo": return known(.gpt2, composes: true)
        case "tekken":
            var family = try patterns([tekken])
            family.ignoreMerges = true
            family.addBOS = true
            return family
        case "gpt-4o", "llama4": return try patterns([o200k])
        case "deepseek-v3", "hunyuan-dense": return try patterns(["\\p{N}{1,3}", cjk, deepseek3])
        case "deepseek-coder":
            return try patterns([
                "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
                "[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+", "\\p{N}",
            ])
        case "default", "":
            // Files from before the names; llama.cpp cuts them like this.
            return try patterns([
                "[\\p{P}\\$\\+<=>\\^~\\|]+", WordPattern.gpt2Text, "\\p{N}+", "[0-9][0-9][0-9]",
            ])
        default: throw .unsupported(component: "tokenizer.ggml.pre", name: name)
        }
    }

    private static func known(
        _ pattern: WordPattern,
        ignoreMerges: Bool = false,
        composes: Bool = false,
        addBOS: Bool = false
    ) -> GGUFPreTokenizer {
        GGUFPreTokenizer(
            stages: [.split(.words(pattern), .isolated, invert: false)],
            ignoreMerges: ignoreMerges,
            composes: composes,
            addBOS: addBOS
        )
    }

    private static func patterns(_ texts: [String]) throws(TokenizerError) -> GGUFPreTokenizer {
        var family = GGUFPreTokenizer(stages: [])
        for text in texts {
            family.stages.append(.split(try .regex(text), .isolated, invert: false))
        }
        return family
    }
}
