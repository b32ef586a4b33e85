public import Torch

/// What a language model reads in place of the placeholders of one image or clip.
public struct VisionFeatures {
    /// Embeddings, `[tokens, D]`.
    public var rows: Tensor
    /// Added to the same rows behind layer 0, 1, … (DeepStack), each `[tokens, D]`.
    public var deep: [Tensor]

    /// Features from their parts.
    public init(rows: Tensor, deep: [Tensor] = []) {
        self.rows = rows
        self.deep = deep
    }
}
