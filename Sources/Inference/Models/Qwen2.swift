// Qwen2 and Qwen2.5 (Qwen team 2024), text of every size: biases on q, k and v, whatever the config
// says, and on nothing else; a sliding window in the upper layers where the config switches it on.

import Weights

extension DecoderConfig {
    /// What `config.json` says of a Qwen2 model.
    static func qwen2(_ reader: WeightReader) throws(ModelError) -> DecoderConfig {
        let config = ConfigReader(reader)
        var decoder = try DecoderConfig(reader, trained: 32_768)
        decoder.inputBias = true
        decoder.windows = try config.windows(layers: decoder.layers)
        return decoder
    }
}
