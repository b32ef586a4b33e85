// Llama (Touvron et al. 2023) and what shares its shape: SmolLM2, TinyLlama, Llama 2 and 3.
// The plain decoder; biases where the config asks for them.

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
}
