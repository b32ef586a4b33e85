public import Checkpoints
public import NN
public import Torch
import Weights

/// The architectures that can be loaded.
///
/// A new one is a file beside this, a case of `Architecture` and a line here.
public enum ModelRegistry {
    private static func load(_ architecture: Architecture, _ weights: WeightReader) throws
        -> any CausalLanguageModel
    {
        switch architecture {
        case .bdh: try BDH(weights)
        case .llama: try Decoder(weights, .llama(weights))
        case .mistral: try Decoder(weights, .mistral(weights))
        case .qwen2: try Decoder(weights, .qwen2(weights))
        case .qwen2_5VL:
            SeeingDecoder(try Decoder(weights, .qwen2_5VL(weights)), try Qwen2_5VLTower(weights))
        case .qwen3: try Decoder(weights, .qwen3(weights))
        case .qwen3VL:
            SeeingDecoder(try Decoder(weights, .qwen3VL(weights)), try Qwen3VLTower(weights))
        }
    }

    /// Architectures that are known and not supported, and the model to use in their place.
    private static let successors = ["qwen": "Qwen2.5-14B-Instruct"]

    /// Loads a checkpoint's weights as `dtype`, those of matrix products in `form`.
    ///
    /// `progress` hears stored bytes read and their total, tensor by tensor.
    /// - Throws: `ModelError`, `CheckpointError`, `WeightError`, `TorchError`.
    public static func load(
        _ checkpoint: Checkpoint,
        dtype: Tensor.DType,
        form: WeightForm = .dense,
        progress: @escaping (_ bytesDone: Int, _ total: Int) -> Void = { _, _ in }
    ) throws -> any CausalLanguageModel {
        guard let architecture = Architecture(rawValue: checkpoint.modelType) else {
            if let successor = successors[checkpoint.modelType] {
                throw ModelError.outdated(checkpoint.modelType, successor: successor)
            }
            throw ModelError.architecture(checkpoint.modelType, known: Architecture.names)
        }
        _ = try StoredQuantisation(checkpoint.config)
        if architecture == .bdh, case .quantised(let wish) = form {
            throw ModelError.config(
                key: "quantize",
                found: wish.rawValue,
                expected: "none: weights of bdh are kept as floats"
            )
        }
        let reader = WeightReader(checkpoint, dtype: dtype, form: form, progress: progress)
        let model: any CausalLanguageModel
        do {
            model = try Torch.checked { try load(architecture, reader) }
        } catch ModelError.config(let key, let found, let expected) {
            // Named as the file's writer knows it.
            let name = checkpoint.spelling(of: key) ?? key
            throw ModelError.config(key: name, found: found, expected: expected)
        }
        // A GGUF file has what its model computes with and nothing else; leaving something out would
        // be another model.
        if checkpoint.isGGUF, !reader.unused.isEmpty {
            throw ModelError.unused(tensors: reader.unused)
        }
        return model
    }

    /// The type to compute in for a wish of `auto`, `float32`, `bfloat16` or `float16`.
    ///
    /// `auto` is bfloat16 on a GPU, and where the CPU multiplies it natively; float16, which no CPU here
    /// does, becomes there what `auto` is. nil for another word.
    public static func computeType(_ wish: String) -> Tensor.DType? {
        if Device.isUsed { return wish == "auto" ? .bfloat16 : Tensor.DType(rawValue: wish) }
        let native: Tensor.DType = Torch.instructionSet == "avx512bf16" ? .bfloat16 : .float32
        switch wish {
        case "auto", "float16": return native
        default: return Tensor.DType(rawValue: wish)
        }
    }
}
