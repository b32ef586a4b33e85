internal import JSON

/// The matrices that every step reads as a whole: those of the decoder's layers, and its head.
///
/// An embedding beside a head of its own, of which a step reads a few rows, and a vision tower do not count.
public struct StepWeights: Sendable, Equatable {
    /// How many weights, and what they take in memory.
    public struct Share: Sendable, Equatable {
        /// Weights.
        public private(set) var values = 0
        /// Bytes.
        public private(set) var bytes = 0

        mutating func add(_ values: Int, _ bytes: Int) {
            self.values += values
            self.bytes += bytes
        }
    }

    /// Those of the layers.
    public internal(set) var layers = Share()
    /// That of the head; the embedding, where it is both.
    public internal(set) var head = Share()
}

/// What a model takes of memory, from the headers of its files alone.
///
/// Looks at shapes and never at weights; needs no libtorch.
public struct MemoryPlan: Sendable, Equatable {
    /// What a machine has not.
    public struct Shortage: Error, Sendable, Equatable, CustomStringConvertible {
        /// Bytes that the model needs at least.
        public let needed: Int
        /// Bytes that there are.
        public let available: Int

        /// A shortage of the two.
        public init(needed: Int, available: Int) {
            self.needed = needed
            self.available = available
        }

        /// One sentence with both.
        public var description: String {
            func text(_ bytes: Int) -> String {
                let tenths = (bytes + (1 << 30) / 20) / ((1 << 30) / 10)
                return "\(tenths / 10).\(tenths % 10) GiB"
            }
            return "the model needs \(text(needed)) of memory, \(text(available)) are available"
        }
    }

    /// Bytes of the weights in the files.
    public let storedBytes: Int
    /// Bytes of the weights once they are loaded.
    public let weightBytes: Int
    /// What of them a step reads.
    public let step: StepWeights
    /// What most values of its layers are kept as: a quantised kind such as `nf4` or `q4_1`, or the type.
    public let weights: String
    /// Bytes of keys and values that each position costs.
    public let stateBytesPerToken: Int
    /// Bytes that each sequence costs however long it is: recurrent models.
    public let stateBytes: Int
    /// Positions that the model was made for.
    public let contextLength: Int

    /// The engine itself: program, libtorch, activations of a step.
    public static let engineBytes = 256 << 20
    /// What a cache leaves to the rest of the machine.
    public static let spareBytes = 2 << 30
    /// A cache holds at least so many tokens, or one whole context.
    public static let leastTokens = 2048

    /// `dtype`: `float32`, or a type of two bytes.
    public init(of checkpoint: Checkpoint, dtype: String, form: WeightForm) {
        let size = dtype == "float32" ? 4 : 2
        storedBytes = checkpoint.totalBytes
        let kept = KeptWeights(of: checkpoint, form: form, size: size)
        weightBytes = kept.bytes
        step = kept.step
        weights = kept.kind ?? dtype
        contextLength = checkpoint.contextLength
        let config = checkpoint.config
        func int(_ key: String, otherwise: Int) -> Int {
            let value = config["text_config"]?[key]?.int ?? config[key]?.int ?? otherwise
            // What no model has is refused when it is loaded.
            return min(max(value, 1), 1 << 20)
        }
        func product(_ factors: Int...) -> Int {
            factors.reduce(1) { product, factor in
                let (next, overflow) = product.multipliedReportingOverflow(by: factor)
                return overflow ? .max / 4 : next
            }
        }
        if checkpoint.modelType == "bdh" {
            let hidden = int("n_embd", otherwise: 256)
            let heads = int("n_head", otherwise: 4)
            let encoder = checkpoint.tensors.first { $0.key.hasSuffix("encoder") }?.value.shape
            let neurons =
                config["mlp_internal_dim_multiplier"] == nil && encoder?.count == 3
                ? encoder?[2] ?? 1
                : product(int("mlp_internal_dim_multiplier", otherwise: 128), hidden) / heads
            let sums = product(heads, neurons, hidden)
            let block = product(heads, 16, neurons + hidden)
            stateBytesPerToken = 0
            stateBytes = product(int("n_layer", otherwise: 6), min(sums, .max / 8) + block, 4)
        } else {
            let heads = int("num_attention_heads", otherwise: 1)
            let isQwen3 = checkpoint.modelType.hasPrefix("qwen3")
            let head = int(
                "head_dim",
                otherwise: isQwen3 ? 128 : int("hidden_size", otherwise: 1) / heads
            )
            stateBytesPerToken = product(
                int("num_hidden_layers", otherwise: 1),
                int("num_key_value_heads", otherwise: heads),
                2 * head,
                size
            )
            stateBytes = 0
        }
    }

    /// Bytes of the state of one sequence of `tokens`.
    public func state(tokens: Int) -> Int {
        let (product, overflow) = stateBytesPerToken.multipliedReportingOverflow(by: tokens)
        return overflow ? .max / 2 : product + stateBytes
    }

    /// Bytes that the cache may have where `available` bytes are there before the load: half of what is left.
    public func cacheBytes(available: Int) -> Int {
        max(0, available - weightBytes - Self.engineBytes - Self.spareBytes) / 2
    }

    /// Sequences of `context` tokens that fit into the cache at once.
    public func slots(context: Int, available: Int) -> Int {
        cacheBytes(available: available) / max(1, state(tokens: context))
    }

    /// The least that the model needs: weights, engine, and a small cache.
    public func least(context: Int? = nil) -> Int {
        let tokens = min(context ?? contextLength, contextLength, Self.leastTokens)
        return weightBytes + Self.engineBytes + state(tokens: tokens)
    }

    /// Refuses a load that cannot fit.
    /// - Throws: `Shortage` with both numbers.
    public func check(available: Int, context: Int? = nil) throws(Shortage) {
        let needed = least(context: context)
        guard needed <= available else { throw Shortage(needed: needed, available: available) }
    }
}
