import CTorch
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
    ///
    /// Empty after a failure of libtorch, which `Torch.checked` throws.
    public func sample(
        logits: Tensor,
        rows: [SamplerRow]
    ) -> [Result<Sampled, SamplerError>] {
        Self.results(Self.packing(rows) { logits.sample($0) ?? [] }, of: rows)
    }

    /// Calls `body` with the rows as the kernel takes them, which are valid within it only.
    static func packing<Value>(_ rows: [SamplerRow], _ body: ([tg_sampler_row]) -> Value) -> Value {
        let arena = Arena()
        return withExtendedLifetime(arena) { body(rows.map { $0.packed(into: arena) }) }
    }

    static func results(_ answers: [tg_sampled], of rows: [SamplerRow])
        -> [Result<Sampled, SamplerError>]
    {
        zip(rows, answers).map { row, answer in
            switch answer.status {
            case 0: .success(Sampled(answer, logprobs: row.topLogprobs != nil))
            case 1: .failure(.notANumber)
            default: .failure(.nothingAllowed)
            }
        }
    }
}

/// Keeps the arrays that packed rows point to alive for one call.
private final class Arena {
    private var blocks: [UnsafeMutableRawPointer] = []

    func keep<Element: BitwiseCopyable>(_ values: [Element]) -> UnsafePointer<Element>? {
        guard !values.isEmpty else { return nil }
        let copy = UnsafeMutablePointer<Element>.allocate(capacity: values.count)
        copy.initialize(from: values, count: values.count)
        blocks.append(UnsafeMutableRawPointer(copy))
        return UnsafePointer(copy)
    }

    deinit { for block in blocks { block.deallocate() } }
}

extension SamplerRow {
    /// Whether a penalty looks at the history.
    private var penalises: Bool {
        presencePenalty != 0 || frequencyPenalty != 0 || repetitionPenalty != 1
    }

    fileprivate func packed(into arena: Arena) -> tg_sampler_row {
        let seen = penalises ? history : nil
        let bias = logitBias.sorted { $0.key < $1.key }
        return tg_sampler_row(
            temperature: temperature,
            top_p: topP,
            min_p: minP,
            presence: presencePenalty,
            frequency: frequencyPenalty,
            repetition: repetitionPenalty,
            top_k: Int32(clamping: topK),
            top_logprobs: topLogprobs.map { Int32(clamping: max(0, $0)) } ?? -1,
            seed: seed,
            choice: choice,
            position: position,
            history: arena.keep(seen?.tokens ?? []),
            history_counts: arena.keep(seen?.counts ?? []),
            history_count: Int64(seen?.tokens.count ?? 0),
            bias_tokens: arena.keep(bias.map(\.key)),
            bias_values: arena.keep(bias.map(\.value)),
            bias_count: Int64(bias.count),
            suppressed: arena.keep(suppressed),
            suppressed_count: Int64(suppressed.count),
            // An empty mask allows nothing: one word of zeros says so.
            mask: mask.flatMap { arena.keep($0.isEmpty ? [0] : $0) },
            mask_words: Int64(mask.map { max(1, $0.count) } ?? 0)
        )
    }
}

extension Sampled {
    fileprivate init(_ answer: tg_sampled, logprobs: Bool) {
        token = answer.token
        logprob = logprobs ? answer.logprob : nil
        let count = Int(answer.top_count)
        top = withUnsafeBytes(of: answer.top_tokens) { tokens in
            withUnsafeBytes(of: answer.top_logprobs) { logprobs in
                (0..<count).map {
                    Candidate(
                        token: tokens.load(fromByteOffset: 4 * $0, as: Int32.self),
                        logprob: logprobs.load(fromByteOffset: 4 * $0, as: Float.self)
                    )
                }
            }
        }
    }
}
