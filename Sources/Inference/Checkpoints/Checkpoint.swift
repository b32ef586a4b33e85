internal import Foundation
public import JSON

/// A model's files, mapped and checked: every tensor's bytes lie inside its file.
///
/// Reading costs the headers only; weights are touched by those who copy them.
public final class Checkpoint: Sendable {
    /// What is known without the weights.
    public let configuration: ModelConfiguration
    /// `config.json`, or the same made from the metadata and tensors of a GGUF file.
    public let config: JSONValue
    /// Tensors by their Hugging Face names.
    public let tensors: [String: TensorEntry]
    /// Bytes of all tensors as stored.
    public let totalBytes: Int
    /// Names these very files; part of the fingerprint of answers.
    public let revision: String
    /// Weights of the right shapes that no file holds; nil for every real checkpoint.
    public let invented: InventedWeights?
    private let files: [MappedFile]

    /// `model_type`.
    public var modelType: String { configuration.modelType }
    /// Whether the weights come from a GGUF file.
    public var isGGUF: Bool { configuration.ggufPath != nil }
    /// The metadata of a GGUF file.
    public var ggufMetadata: GGUFMetadata? { configuration.ggufMetadata }
    /// Positions that the model was made for.
    public var contextLength: Int { configuration.contextLength }

    /// How the file spells a key of `config` or a tensor's name, where it spells them differently.
    public func spelling(of name: String) -> String? {
        guard let metadata = ggufMetadata else { return nil }
        let stored = GGUFTranslation.stored(name)
        return stored == name ? GGUFTranslation.key(name, metadata) : stored
    }

    /// Opens a folder with `config.json` and safetensors (one file, or several with an index) or else
    /// `model.pt`; a `.gguf` file, or a folder with exactly one.
    /// - Throws: `CheckpointError`.
    public init(opening path: String) throws(CheckpointError) {
        configuration = try ModelConfiguration(opening: path)
        invented = nil
        var entries: [TensorEntry] = []
        if let gguf = configuration.ggufPath {
            let file = try MappedFile(gguf)
            let parsed = try GGUFFile(file)
            let shapes = parsed.rows.map { ($0.name, $0.shape) }
            let config = try GGUFTranslation.config(
                parsed.metadata,
                tensors: Dictionary(shapes) { first, _ in first },
                file: file.name
            )
            self.config = config
            if let tokens = parsed.metadata.strings("tokenizer.ggml.tokens")?.count,
                let rows = config["vocab_size"]?.int, rows != tokens
            {
                throw CheckpointError(
                    .corrupt,
                    file: file.name,
                    "the vocabulary has \(tokens) tokens, token_embd.weight \(rows) rows"
                )
            }
            entries = parsed.rows.map { row in
                TensorEntry(
                    name: GGUFTranslation.name(row.name),
                    format: row.format,
                    shape: row.shape,
                    bytes: row.bytes,
                    ropePermutedHeads: GGUFTranslation.permutedHeads(row.name, config),
                    file: file.name
                )
            }
            files = [file]
        } else {
            var mapped: [MappedFile] = []
            for name in try Self.shards(of: path) {
                let file = try MappedFile("\(path)/\(name)")
                entries +=
                    name.hasSuffix(".pt")
                    ? try TorchFile.entries(of: file) : try Safetensors.entries(of: file)
                mapped.append(file)
            }
            files = mapped
            config = configuration.config
        }
        var byName: [String: TensorEntry] = [:]
        for entry in entries {
            guard byName.updateValue(entry, forKey: entry.name) == nil else {
                throw CheckpointError(
                    .corrupt,
                    file: entry.file,
                    "tensor '\(entry.name)' comes twice"
                )
            }
        }
        tensors = byName
        totalBytes = entries.reduce(0) { $0 + $1.bytes.count }
        revision = Self.hash(files.map(\.identity) + [configuration.identity])
    }

    /// The config of a folder and weights that are made up: for benchmarks.
    /// - Throws: `CheckpointError`.
    public init(inventing folder: String) throws(CheckpointError) {
        configuration = try ModelConfiguration(opening: folder)
        config = configuration.config
        // The whole model's word counts before its text part's.
        let key = "tie_word_embeddings"
        let isTied = config[key]?.bool ?? config["text_config"]?[key]?.bool ?? false
        invented = try InventedWeights(tied: isTied)
        (tensors, totalBytes, files) = ([:], 0, [])
        revision = Self.hash(["invented", configuration.identity])
    }

    /// The names of the files that hold the weights.
    private static func shards(of folder: String) throws(CheckpointError) -> [String] {
        let single = "model.safetensors"
        let manager = FileManager.default
        if manager.fileExists(atPath: "\(folder)/\(single)") { return [single] }
        let index = "model.safetensors.index.json"
        guard manager.fileExists(atPath: "\(folder)/\(index)") else {
            let torch = "model.pt"
            if manager.fileExists(atPath: "\(folder)/\(torch)") { return [torch] }
            throw CheckpointError(.missing, file: single, "is not in the model's folder")
        }
        let file = try MappedFile("\(folder)/\(index)")
        guard let json = try? JSONValue.parse(file.bytes), let map = json["weight_map"]?.object
        else {
            throw CheckpointError(.corrupt, file: index, "has no weight_map")
        }
        var names: Set<String> = []
        for value in map.values {
            guard let name = value.string, !name.contains("/"), name.hasSuffix(".safetensors"),
                !name.hasPrefix(".")
            else {
                throw CheckpointError(
                    .corrupt,
                    file: index,
                    "names something else than a file beside it"
                )
            }
            names.insert(name)
        }
        return names.sorted()
    }

    /// FNV-1a of the words, 16 hexadecimal digits: names files, defends against nothing.
    private static func hash(_ words: [String]) -> String {
        var value: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in words.joined(separator: "\n").utf8 {
            value = (value ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
