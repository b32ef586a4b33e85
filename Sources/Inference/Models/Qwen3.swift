// Qwen3 (Qwen team 2025), dense: heads of a size of their own, q and k normalised head by head before
// they are rotated, no biases unless the config asks for them; windows as in Qwen2.

import Weights

extension DecoderConfig {
    /// What `config.json` says of a Qwen3 model.
    static func qwen3(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        let config = ConfigReader(reader)
        var decoder = try DecoderConfig(reader, headSize: 128, trained: 32_768)
        decoder.headNorms = true
        decoder.inputBias = try config.bool("attention_bias", otherwise: false)
        decoder.outputBias = try config.outputBias(beside: decoder.inputBias)
        decoder.windows = try config.windows(layers: decoder.layers)
        return decoder
    }
}
