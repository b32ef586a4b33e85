internal import Foundation
public import JSON

/// What is known of a model without its weights: enough to tokenise, render and count.
public struct ModelConfiguration: Sendable {
    /// Folder or file, as it was opened.
    public let path: String
    /// `config.json`, or the same made from GGUF metadata.
    public let config: JSONValue
    /// `generation_config.json`.
    public let generationConfig: JSONValue?
    /// The metadata of a GGUF file; nil for folders.
    public let ggufMetadata: GGUFMetadata?
    /// Path of the `.gguf`; nil for folders of other files.
    public let ggufPath: String?
    /// Changes when a file of the model's description does.
    public let identity: String

    /// `model_type`.
    ///
    /// BDH's own writers leave it out.
    public var modelType: String {
        let isBDH = config["mlp_internal_dim_multiplier"] != nil
        return config["model_type"]?.string ?? (isBDH ? "bdh" : "")
    }

    /// Positions that the model was made for.
    ///
    /// A YaRN scaling lengthens what `max_position_embeddings` says where that is the trained length.
    public var contextLength: Int {
        // BDH has no longest sequence.
        let trained =
            ["qwen2": 32_768, "qwen3": 32_768, "mistral": 131_072, "bdh": 1 << 20][modelType]
            ?? 2048
        let written = text("max_position_embeddings") ?? trained
        let rope = [member("rope_scaling"), member("rope_parameters")].compactMap { $0 }
            .first { ($0["rope_type"] ?? $0["type"])?.string == "yarn" }
        guard let rope, let factor = rope["factor"]?.double, factor > 1, factor < 1e6,
            let stretched = Int(
                exactly: (Double(rope["original_max_position_embeddings"]?.int ?? written) * factor)
                    .rounded(.down)
            )
        else { return written }
        return max(written, min(stretched, 16_777_216))
    }

    /// Rows of the embedding.
    public var vocabularySize: Int { text("vocab_size") ?? (modelType == "bdh" ? 256 : 0) }

    /// Refuses a tokeniser with ids behind the embedding's last row; fewer ids are usual (padded rows).
    /// - Throws: `CheckpointError` with both numbers.
    public func check(tokenizerSize: Int) throws(CheckpointError) {
        guard vocabularySize > 0, tokenizerSize > vocabularySize else { return }
        throw CheckpointError(
            .corrupt,
            file: path.split(separator: "/").last.map(String.init) ?? path,
            "the tokeniser has \(tokenizerSize) ids, the model only \(vocabularySize)"
        )
    }

    /// Ids that end a text: config's and generation config's together.
    public var eosTokenIDs: [Int] {
        var ids: [Int] = []
        var sources = [
            config["eos_token_id"], config["text_config"]?["eos_token_id"],
            generationConfig?["eos_token_id"],
        ]
        if let metadata = ggufMetadata {
            sources += ["eos", "eot"].map {
                metadata.int("tokenizer.ggml.\($0)_token_id").map(JSONValue.int)
            }
        }
        for source in sources {
            for id in (source?.array ?? source.map { [$0] } ?? []).compactMap(\.int)
            where !ids.contains(id) {
                ids.append(id)
            }
        }
        return ids
    }

    func text(_ key: String) -> Int? { member(key)?.int }

    /// A member of the text model's config: multimodal ones nest it.
    private func member(_ key: String) -> JSONValue? {
        [config["text_config"]?[key], config[key]].compactMap { $0 }.first { !$0.isNull }
    }

    /// Reads a model folder (`config.json`, or exactly one `.gguf`) or a `.gguf` file.
    /// - Throws: `CheckpointError`.
    public init(opening path: String) throws(CheckpointError) {
        self.path = path
        if let gguf = try Self.gguf(in: path) {
            let (metadata, mark) = try Self.metadata(of: gguf)
            let name = gguf.split(separator: "/").last.map(String.init) ?? gguf
            config = try GGUFTranslation.config(metadata, tensors: nil, file: name)
            generationConfig = nil
            ggufMetadata = metadata
            ggufPath = gguf
            identity = mark
        } else {
            let (config, mark) = try Self.json("config.json", in: path)
            guard let config else {
                throw CheckpointError(.missing, file: "config.json", "is not in the model's folder")
            }
            self.config = config
            let (generation, other) = try Self.json("generation_config.json", in: path)
            generationConfig = generation
            ggufMetadata = nil
            ggufPath = nil
            identity = "\(mark);\(other)"
        }
    }

    /// The GGUF file of a path: itself, or the only one in a folder without `config.json`.
    static func gguf(in path: String) throws(CheckpointError) -> String? {
        if path.hasSuffix(".gguf") { return path }
        if FileManager.default.fileExists(atPath: "\(path)/config.json") { return nil }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
            throw CheckpointError(.missing, file: name, "cannot be read")
        }
        let files = names.filter { $0.hasSuffix(".gguf") }
        guard files.count < 2 else {
            throw CheckpointError(
                .unsupported,
                file: name,
                "holds \(files.count) GGUF files, expected one"
            )
        }
        return files.first.map { "\(path)/\($0)" }
    }

    /// The metadata of a GGUF file, read in as small a piece as holds it, and the file's identity.
    private static func metadata(of path: String) throws(CheckpointError) -> (GGUFMetadata, String)
    {
        var limit = 16 << 20
        while true {
            let file = try MappedFile(path, copying: limit)
            do throws(CheckpointError) {
                return (try GGUFFile(file, withTensors: false).metadata, file.identity)
            } catch {
                guard error.kind == .corrupt, file.size > limit, limit < 1 << 30 else {
                    throw error
                }
                limit *= 4
            }
        }
    }

    /// A JSON file of a folder and its identity; nil where there is none.
    private static func json(_ name: String, in folder: String) throws(CheckpointError) -> (
        JSONValue?, String
    ) {
        guard FileManager.default.fileExists(atPath: "\(folder)/\(name)") else { return (nil, "-") }
        let file = try MappedFile("\(folder)/\(name)", copying: (16 << 20) + 1)
        guard file.size <= 16 << 20 else {
            throw CheckpointError(.corrupt, file: name, "is larger than 16 MiB")
        }
        let value: JSONValue
        do throws(JSONError) { value = try JSONValue.parse(file.bytes) } catch {
            throw CheckpointError(.corrupt, file: name, "is not JSON: \(error)")
        }
        guard value.object != nil else {
            throw CheckpointError(.corrupt, file: name, "is no object")
        }
        return (value, file.identity)
    }
}
