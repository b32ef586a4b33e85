internal import EngineLink
internal import OpenAI
internal import Settings

/// Fills in what a request leaves open: request > model's setting > global setting >
/// generation_config.json > fallback.
struct SamplingResolver {
    /// What stands where nobody says anything.
    enum Fallback {
        static let temperature = 0.7
        static let topP = 0.95
        static let topK = 50
        static let maxTokens = 512
    }

    let options: GenerationOptions
    let model: ServedModel
    let settings: Settings

    private var own: GenerationSettings {
        settings.models.settings[model.id]?.generation ?? GenerationSettings()
    }

    /// The parameters of the draw.
    ///
    /// The seed is drawn here where the request has none, so that an engine that dies can be
    /// followed by one that draws the same.
    func sampling() -> SamplingParameters {
        let global = settings.generation
        let defaults = model.defaults
        let temperature =
            options.temperature ?? own.temperature ?? global.temperature ?? defaults.temperature
            ?? Fallback.temperature
        let topP = options.topP ?? own.topP ?? global.topP ?? defaults.topP ?? Fallback.topP
        let topK = options.topK ?? own.topK ?? global.topK ?? defaults.topK ?? Fallback.topK
        let repetition = options.repetitionPenalty ?? defaults.repetitionPenalty ?? 1
        // Smaller ones would be 0 or make infinite logits as floats; they mean the same as these.
        return SamplingParameters(
            temperature: Float(temperature),
            topK: min(topK, model.vocabularySize),
            topP: Float(max(topP, 1e-6)),
            minP: Float(options.minP ?? defaults.minP ?? 0),
            presencePenalty: Float(options.presencePenalty ?? 0),
            frequencyPenalty: Float(options.frequencyPenalty ?? 0),
            repetitionPenalty: Float(max(repetition, 1e-3)),
            logitBias: (options.logitBias ?? [:]).mapValues { Float($0) },
            seed: options.seed.map { UInt64(bitPattern: $0) } ?? UInt64.random(in: .min ... .max)
        )
    }

    /// When to stop, for a prompt of so many tokens.
    /// - Throws: 400 `context_length_exceeded` with the three numbers; a prompt is never cut.
    func stop(promptTokens: Int, param: String) throws(APIError) -> StopConditions {
        let setting = settings.engine.maxContext
        let context = setting > 0 ? min(setting, model.contextLength) : model.contextLength
        let wanted = options.maxTokens
        let room = context - promptTokens
        let least = options.minTokens ?? 0
        guard room >= (wanted ?? max(1, least)), promptTokens > 0 || room > 0 else {
            throw .contextLengthExceeded(
                limit: context,
                prompt: promptTokens,
                completion: wanted ?? max(1, least),
                param: param
            )
        }
        // Only what the client asks for, the most or the least, is strict; a default gives way to both.
        let usual = own.maxTokens ?? settings.generation.maxTokens ?? Fallback.maxTokens
        let most = wanted ?? min(room, max(usual, least))
        return StopConditions(
            maxTokens: most,
            minTokens: min(least, most),
            stopTokens: model.stopTokens,
            ignoreEOS: options.ignoreEOS ?? false
        )
    }
}
