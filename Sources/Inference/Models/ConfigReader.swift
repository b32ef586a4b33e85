import Checkpoints
package import JSON
import Weights

/// Reads `config.json` field by field; every number is checked against the range that a model can have.
package struct ConfigReader {
    let config: JSONValue

    /// Any `config.json`, or an object inside one.
    package init(_ config: JSONValue) { self.config = config }

    /// The checkpoint's `config.json`.
    init(_ reader: WeightReader) { config = reader.checkpoint.config }

    /// A whole number in `range`; `otherwise` where the key is absent or null.
    func int(_ key: String, in range: ClosedRange<Int>, otherwise: Int? = nil) throws(ModelError)
        -> Int
    {
        guard let value = value(key) else {
            if let otherwise { return otherwise }
            throw .config(key: key, found: "absent", expected: "\(range)")
        }
        guard let number = value.int, range.contains(number) else {
            throw .config(key: key, found: text(value), expected: "\(range)")
        }
        return number
    }

    /// A finite number in `range`; `otherwise` where the key is absent or null.
    func double(_ key: String, in range: ClosedRange<Double>, otherwise: Double? = nil)
        throws(ModelError) -> Double
    {
        guard let value = value(key) else {
            if let otherwise { return otherwise }
            throw .config(key: key, found: "absent", expected: "\(range)")
        }
        guard let number = value.double, range.contains(number) else {
            throw .config(key: key, found: text(value), expected: "\(range)")
        }
        return number
    }

    /// A flag; `otherwise` where the key is absent or null.
    func bool(_ key: String, otherwise: Bool) throws(ModelError) -> Bool {
        guard let value = value(key) else { return otherwise }
        guard let flag = value.bool else {
            throw .config(key: key, found: text(value), expected: "true or false")
        }
        return flag
    }

    /// Whether the attention's output has a bias: `attention_bias` means all, GGUF files tell them apart.
    func outputBias(beside inputBias: Bool) throws(ModelError) -> Bool {
        try bool("attention_output_bias", otherwise: inputBias)
    }

    /// Whether the embedding serves as head: of the whole model first, then of its text part.
    func tied() throws(ModelError) -> Bool {
        let outer = ConfigReader(["tie": config["tie_word_embeddings"] ?? .null])
        return try outer.bool("tie", otherwise: bool("tie_word_embeddings", otherwise: false))
    }

    /// The sliding window as transformers has it: absent means 4096, null means none.
    func window() throws(ModelError) -> Int? {
        if let written = self[anyOf: "sliding_window"], written.isNull { return nil }
        return try int("sliding_window", in: 1...1 << 30, otherwise: 4096)
    }

    /// How many keys a row sees, by layer; layers that are not in the answer see all.
    ///
    /// As transformers: nothing unless `use_sliding_window`; then the layers that `layer_types` names,
    /// or those from `max_window_layers` on.
    func windows(layers: Int) throws(ModelError) -> [Int: Int] {
        guard try bool("use_sliding_window", otherwise: false) else { return [:] }
        guard let window = try window() else { return [:] }
        let sliding: [Int]
        if let types = value("layer_types") {
            let words = types.array?.compactMap(\.string) ?? []
            guard words.count == layers, types.array?.count == layers,
                words.allSatisfy({ $0 == "sliding_attention" || $0 == "full_attention" })
            else {
                throw .config(
                    key: "layer_types",
                    found: text(types),
                    expected: "full_attention or sliding_attention for each of \(layers) layers"
                )
            }
            sliding = words.indices.filter { words[$0] == "sliding_attention" }
        } else {
            let first = try int("max_window_layers", in: 0...1 << 20, otherwise: 28)
            sliding = Array(min(first, layers)..<layers)
        }
        return Dictionary(uniqueKeysWithValues: sliding.map { ($0, window) })
    }

    /// The member, of the text part where there is one; nil where it is absent or null.
    func value(_ key: String) -> JSONValue? {
        guard let value = self[anyOf: key], !value.isNull else { return nil }
        return value
    }

    /// The member, null included; multimodal configs nest those of the text model.
    private subscript(anyOf key: String) -> JSONValue? {
        config["text_config"]?[key] ?? config[key]
    }

    func text(_ value: JSONValue) -> String {
        switch value {
        case .number(let number): String(number.text.prefix(40))
        case .string(let string): "\"\(string.prefix(40))\""
        case .bool(let flag): "\(flag)"
        default: "of the kind \(value.kind)"
        }
    }
}
