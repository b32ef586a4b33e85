// Llama (Touvron et al. 2023) and what shares its shape: SmolLM2, TinyLlama, Llama 2 and 3.
// The plain decoder; biases where the config asks for them.
//
// Mistral (Jiang et al. 2023), dense: no biases, and a sliding window in every layer unless it is null.

import Weights

extension DecoderConfig {
    /// What `config.json` says of a Llama model.
    static func llama(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        let config = ConfigReader(reader)
        var decoder = try DecoderConfig(reader)
        decoder.inputBias = try config.bool("attention_bias", otherwise: false)
        decoder.outputBias = try config.outputBias(beside: decoder.inputBias)
        decoder.mlpBias = try config.bool("mlp_bias", otherwise: false)
        return decoder
    }

    /// What `config.json` says of a Mistral model.
    static func mistral(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        let config = ConfigReader(reader)
        var decoder = try DecoderConfig(reader, trained: 131_072, keyHeads: 8)
        if let window = try config.window() {
            decoder.windows = Dictionary(
                uniqueKeysWithValues: (0..<decoder.layers).map { ($0, window) }
            )
        }
        return decoder
    }
}
