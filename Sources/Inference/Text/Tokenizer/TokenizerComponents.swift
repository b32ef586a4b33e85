import JSON

/// Builds the parts around the model from their JSON.
///
/// Types that are not known are refused by name: a guess would give other tokens than the model was
/// trained on.
struct TokenizerComponents {
    let file: String

    private func malformed(_ reason: String) -> TokenizerError {
        .malformed(file: file, reason: reason)
    }

    private func scalar(_ value: JSONValue?, _ what: String) throws(TokenizerError) -> [UInt8] {
        guard let text = value?.string, text.unicodeScalars.count == 1 else {
            throw malformed("\(what) is not one character")
        }
        return Array(text.utf8)
    }

    private func pattern(_ value: JSONValue?) throws(TokenizerError) -> TextPattern {
        if let text = value?["String"]?.string { return .literal(Array(text.utf8)) }
        if let text = value?["Regex"]?.string { return try .regex(text) }
        throw malformed("a pattern is neither String nor Regex")
    }

    // MARK: Normalizer

    func normalizer(_ value: JSONValue) throws(TokenizerError) -> [Normalizer.Step] {
        if value.isNull { return [] }
        let type = value["type"]?.string ?? value.kind
        switch type {
        case "Sequence":
            var steps: [Normalizer.Step] = []
            for part in value["normalizers"]?.array ?? [] { steps += try normalizer(part) }
            return steps
        case "NFC": return [.nfc]
        case "NFD": return [.nfd]
        case "NFKC": return [.nfkc]
        case "NFKD": return [.nfkd]
        case "Lowercase": return [.lowercase]
        case "StripAccents": return [.stripAccents]
        case "ByteLevel": return [.byteLevel]
        case "Prepend": return [.prepend(Array((value["prepend"]?.string ?? "").utf8))]
        case "Replace":
            return [
                .replace(
                    try pattern(value["pattern"]),
                    with: Array((value["content"]?.string ?? "").utf8)
                )
            ]
        case "Strip":
            return [
                .strip(
                    left: value["strip_left"]?.bool ?? true,
                    right: value["strip_right"]?.bool ?? true
                )
            ]
        default: throw .unsupported(component: "normalizer", name: type)
        }
    }

    // MARK: Pre-tokenizer

    func preTokenizer(_ value: JSONValue) throws(TokenizerError) -> PreTokenizer {
        var stages = try self.stages(value)
        // At the end the model reads the bytes themselves instead of their characters.
        guard case .byteAlphabet = stages.last else { return PreTokenizer(stages: stages) }
        stages.removeLast()
        for case .byteAlphabet in stages {
            stages.append(.byteAlphabet)
            return PreTokenizer(stages: stages)
        }
        return PreTokenizer(stages: stages, isByteLevel: true)
    }

    private func behavior(_ value: JSONValue?) throws(TokenizerError) -> PreTokenizer.Behavior {
        guard let value else { return .isolated }
        guard let name = value.string, let behavior = PreTokenizer.Behavior(rawValue: name) else {
            throw .unsupported(component: "split behavior", name: value.string ?? value.kind)
        }
        return behavior
    }

    private func stages(_ value: JSONValue) throws(TokenizerError) -> [PreTokenizer.Stage] {
        if value.isNull { return [] }
        let type = value["type"]?.string ?? value.kind
        switch type {
        case "Sequence":
            var stages: [PreTokenizer.Stage] = []
            for part in value["pretokenizers"]?.array ?? [] { stages += try self.stages(part) }
            return stages
        case "ByteLevel":
            var stages: [PreTokenizer.Stage] = []
            if value["add_prefix_space"]?.bool ?? true { stages.append(.prefixSpace) }
            if value["use_regex"]?.bool ?? true {
                stages.append(.split(.words(.gpt2), .isolated, invert: false))
            }
            return stages + [.byteAlphabet]
        case "Split":
            return [
                .split(
                    try pattern(value["pattern"]),
                    try behavior(value["behavior"]),
                    invert: value["invert"]?.bool ?? false
                )
            ]
        case "Digits":
            let alone = value["individual_digits"]?.bool ?? false
            return [.split(.scalar(.numeric), alone ? .isolated : .contiguous, invert: false)]
        case "Punctuation":
            return [
                .split(.scalar(.punctuation), try behavior(value["behavior"]), invert: false)
            ]
        case "Whitespace": return [.split(.wordsAndSymbols, .removed, invert: true)]
        case "WhitespaceSplit": return [.split(.scalar(.space), .removed, invert: false)]
        case "CharDelimiterSplit", "Delimiter":
            let delimiter = try scalar(value["delimiter"], "a delimiter")
            return [.split(.literal(delimiter), .removed, invert: false)]
        case "Metaspace":
            let (mark, prepend) = try metaspace(value)
            return [.metaspace(mark: mark, prepend, split: value["split"]?.bool ?? true)]
        default: throw .unsupported(component: "pre-tokenizer", name: type)
        }
    }

    private func metaspace(_ value: JSONValue) throws(TokenizerError)
        -> (mark: [UInt8], prepend: PreTokenizer.Prepend)
    {
        let mark = try scalar(value["replacement"], "Metaspace's replacement")
        if value["add_prefix_space"]?.bool == false { return (mark, .never) }
        let name = value["prepend_scheme"]?.string ?? "always"
        guard let prepend = PreTokenizer.Prepend(rawValue: name) else {
            throw .unsupported(component: "prepend_scheme", name: name)
        }
        return (mark, prepend)
    }

    // MARK: Post-processor

    func postProcessor(_ value: JSONValue) throws(TokenizerError) -> PostProcessor {
        if value.isNull { return PostProcessor() }
        let type = value["type"]?.string ?? value.kind
        switch type {
        case "ByteLevel": return PostProcessor()
        case "Sequence":
            var result = PostProcessor()
            for part in value["processors"]?.array ?? [] {
                result = result.inside(try postProcessor(part))
            }
            return result
        case "TemplateProcessing": return try template(value)
        case "RobertaProcessing", "BertProcessing":
            return PostProcessor(
                before: [try id(value["cls"]?.array?.last)],
                after: [try id(value["sep"]?.array?.last)]
            )
        default: throw .unsupported(component: "post-processor", name: type)
        }
    }

    private func id(_ value: JSONValue?) throws(TokenizerError) -> Int32 {
        guard let id = value?.int, id >= 0, let number = Int32(exactly: id) else {
            throw malformed("a post-processor names no usable id")
        }
        return number
    }

    private func template(_ value: JSONValue) throws(TokenizerError) -> PostProcessor {
        var result = PostProcessor()
        var texts = 0
        for piece in value["single"]?.array ?? [] {
            if piece["Sequence"] != nil {
                texts += 1
                continue
            }
            guard let name = piece["SpecialToken"]?["id"]?.string,
                let ids = value["special_tokens"]?[name]?["ids"]?.array
            else { throw malformed("the template names a special token that it does not list") }
            for id in ids {
                if texts == 0 {
                    result.before.append(try self.id(id))
                } else {
                    result.after.append(try self.id(id))
                }
            }
        }
        guard texts == 1 else {
            throw .unsupported(component: "template", name: "with \(texts) texts")
        }
        return result
    }

    // MARK: Decoder

    func decoder(_ value: JSONValue) throws(TokenizerError) -> TokenDecoder.Kind {
        if value.isNull { return .spaced }
        var list: [JSONValue] = []
        flatten(value, into: &list)
        if list.count == 1, let only = list.first {
            switch only["type"]?.string {
            case "ByteLevel": return .byteLevel
            case "BPEDecoder":
                return .suffix(Array((only["suffix"]?.string ?? "</w>").utf8))
            default: break
            }
        }
        var chain = TokenDecoder.Chain()
        for part in list { try add(part, to: &chain) }
        return .chain(chain)
    }

    private func flatten(_ value: JSONValue, into list: inout [JSONValue]) {
        guard value["type"]?.string == "Sequence" else { return list.append(value) }
        for part in value["decoders"]?.array ?? [] { flatten(part, into: &list) }
    }

    private func add(_ value: JSONValue, to chain: inout TokenDecoder.Chain)
        throws(TokenizerError)
    {
        let type = value["type"]?.string ?? value.kind
        let step: TokenDecoder.Step
        switch type {
        case "ByteFallback":
            guard !chain.fuses, !chain.byteFallback else {
                throw .unsupported(component: "decoder order", name: "ByteFallback at this place")
            }
            chain.byteFallback = true
            return
        case "Fuse":
            chain.fuses = true
            return
        case "Strip":
            let strip = TokenDecoder.Strip(
                content: try scalar(value["content"], "Strip's content"),
                start: max(0, value["start"]?.int ?? 0),
                stop: max(0, value["stop"]?.int ?? 0)
            )
            if chain.fuses {
                chain.whole.append(strip)
                return
            }
            step = .strip(strip)
        case "Replace":
            step = .replace(
                try pattern(value["pattern"]),
                with: Array((value["content"]?.string ?? "").utf8)
            )
        case "Metaspace":
            let (mark, prepend) = try metaspace(value)
            step = .metaspace(mark: mark, dropsFirst: prepend != .never)
        default: throw .unsupported(component: "decoder", name: type)
        }
        guard !chain.fuses else {
            throw .unsupported(component: "decoder order", name: "\(type) after Fuse")
        }
        if chain.byteFallback { chain.after.append(step) } else { chain.before.append(step) }
    }
}
