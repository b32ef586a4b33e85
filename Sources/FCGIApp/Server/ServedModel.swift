internal import CLinux
internal import Checkpoints
internal import Crypto
internal import Foundation
internal import JSON
internal import OpenAI
internal import Text

/// A model as the front knows it: tokeniser, template, limits and defaults; never its weights.
final class ServedModel: Sendable {
    /// The id that requests name.
    let id: String
    /// Folder or file that the engine opens.
    let path: String
    /// config.json and the like.
    let configuration: ModelConfiguration
    let tokenizer: Tokenizer
    let template: PromptTemplate
    /// What becomes of images and clips; nil for a model of text only.
    let vision: VisionProcessor?
    /// Ids that end an answer.
    let stopTokens: [Int32]
    /// Defaults that the model's makers set (generation_config.json).
    let defaults: SamplingDefaults
    /// Tells this state of the model's files from others.
    let identity: String

    var contextLength: Int { configuration.contextLength }
    var vocabularySize: Int { max(configuration.vocabularySize, tokenizer.vocabularySize) }

    /// Reads what the front needs of a model.
    /// - Throws: `ModelFault`, 503 or 500, with a message from the catalogue.
    init(_ entry: CatalogEntry, identity: String) throws(ModelFault) {
        id = entry.id
        path = entry.path
        self.identity = identity
        do throws(CheckpointError) {
            configuration = try ModelConfiguration(opening: entry.path)
        } catch {
            throw Self.fault(Self.sentence(for: error), "\(error)")
        }
        do throws(TokenizerError) {
            tokenizer = try Self.tokenizer(of: configuration)
        } catch {
            throw Self.fault("The model's tokeniser cannot be used.", "\(error)")
        }
        do throws(CheckpointError) {
            try configuration.check(tokenizerSize: tokenizer.vocabularySize)
        } catch {
            let message = "The model's files do not fit each other: \(error.detail)."
            throw Self.fault(message, "\(error)")
        }
        do throws(CheckpointError) {
            vision = try VisionProcessor(of: configuration)
        } catch {
            throw Self.fault("The model's processor files cannot be used: \(error).", "\(error)")
        }
        template = try PromptTemplate(of: configuration, tokenizer: tokenizer)
        var stops = configuration.eosTokenIDs.compactMap(Int32.init(exactly:))
        // Chat models end their turn with a token that old files do not list.
        for word in ["<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>"] {
            guard configuration.ggufMetadata != nil, let token = tokenizer.id(of: word),
                tokenizer.isSpecial(token), !stops.contains(token)
            else { continue }
            stops.append(token)
        }
        stopTokens = stops
        defaults = SamplingDefaults(generationConfig: configuration.generationConfig)
    }

    private static func fault(_ message: String, _ cause: String) -> ModelFault {
        ModelFault(error: .modelLoadFailed(message, retryAfter: 10), cause: cause)
    }

    /// Names the file that is at fault, without its folder.
    private static func sentence(for error: CheckpointError) -> String {
        switch error.kind {
        case .missing: "The model's files are missing or cannot be read: \(error.file)."
        case .corrupt: "The model's files are damaged: \(error.file)."
        case .unsupported: "The model's architecture, format or settings are not supported."
        }
    }

    private static func tokenizer(of configuration: ModelConfiguration) throws(TokenizerError)
        -> Tokenizer
    {
        guard let metadata = configuration.ggufMetadata else {
            let files = ["tokenizer.json", "vocab.json"].map { "\(configuration.path)/\($0)" }
            // BDH reads plain bytes unless its makers say otherwise.
            if configuration.modelType == "bdh", configuration.vocabularySize == 256,
                !files.contains(where: FileManager.default.fileExists)
            {
                return .bytes()
            }
            return try Tokenizer.load(folder: configuration.path)
        }
        return try Tokenizer(gguf: GGUFVocabulary(metadata))
    }

    /// Changes with the files that tokeniser, template, limits and weights come from.
    static func identity(of entry: CatalogEntry) -> String {
        let kinds = [".json", ".jinja", ".txt", ".safetensors", ".gguf", ".pt"]
        let names = (try? FileManager.default.contentsOfDirectory(atPath: entry.path)) ?? []
        let files = names.filter { name in kinds.contains { name.hasSuffix($0) } }.sorted()
        var hash = SHA256()
        for path in files.isEmpty ? [entry.path] : files.map({ "\(entry.path)/\($0)" }) {
            var info = stat()
            guard stat(path, &info) == 0 else { continue }
            let state = [
                Int(info.st_ino), Int(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
            ]
            hash.update(data: Data("\(path):\(state);".utf8))
        }
        return hash.finalize().prefix(8).map { String(Int($0) | 0x100, radix: 16).dropFirst() }
            .joined()
    }
}

/// Sampling defaults that a model brings along; nil where it says nothing.
struct SamplingDefaults: Sendable, Equatable {
    var temperature: Double?
    var topP: Double?
    var topK: Int?
    var minP: Double?
    var repetitionPenalty: Double?

    init(generationConfig: JSONValue?) {
        func number(_ key: String, _ range: ClosedRange<Double>) -> Double? {
            guard let value = generationConfig?[key]?.double, range.contains(value) else {
                return nil
            }
            return value
        }
        temperature = number("temperature", 0...2)
        topP = number("top_p", 1e-6...1)
        topK = generationConfig?["top_k"]?.int.flatMap { (0...1_000_000).contains($0) ? $0 : nil }
        minP = number("min_p", 0...1)
        repetitionPenalty = number("repetition_penalty", 1e-6...10)
        // transformers draws greedily unless told to sample.
        if generationConfig?["do_sample"]?.bool == false { temperature = 0 }
    }
}

extension GGUFVocabulary {
    /// Takes the vocabulary out of a GGUF file's metadata.
    init(_ metadata: GGUFMetadata) {
        func key(_ name: String) -> String { "tokenizer.ggml.\(name)" }
        self.init(
            model: metadata.string(key("model")) ?? "",
            pre: metadata.string(key("pre")) ?? "default",
            tokens: metadata.strings(key("tokens")) ?? [],
            merges: metadata.strings(key("merges")) ?? [],
            tokenTypes: (metadata.ints(key("token_type")) ?? []).map { Int32(clamping: $0) }
        )
        bos = metadata.int(key("bos_token_id"))
        eos = metadata.int(key("eos_token_id"))
        unknown = metadata.int(key("unknown_token_id"))
        addBOS = metadata.bool(key("add_bos_token"))
        addEOS = metadata.bool(key("add_eos_token"))
        addSpacePrefix = metadata.bool(key("add_space_prefix"))
        if case .floats(let values)? = metadata.values[key("scores")] {
            scores = values.map { Float($0) }
        }
    }
}
