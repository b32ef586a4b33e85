/// `models.settings`: as a mapping of mappings, or as `id.member=value` words.
extension SettingsTable {
    /// What a model overrides, in the order of `torchgate settings`.
    private static let modelMembers =
        ["path", "device", "dtype", "quantize", "idle_timeout"]
        + generation.map(\.key).filter(isSampling)

    private static func isSampling(_ key: String) -> Bool { key.hasPrefix("generation.") }

    /// Lays what a source says of single models over what weaker ones say.
    static func readModels(
        _ raw: RawSetting,
        _ models: inout [String: ModelSettings]
    ) throws(RawError) {
        for member in try raw.members() {
            if case .map = member.value {
                try readModel(member.value, &models[member.key, default: ModelSettings()])
                continue
            }
            // An id may have dots, so that the member is looked for at the end.
            guard
                let name = modelMembers.first(where: { member.key.hasSuffix(".\($0)") }),
                case let id = member.key.dropLast(name.utf8.count + 1), !id.isEmpty
            else {
                throw RawError(
                    problem: "\(member.key): expected id.member=value, where the member is one of: "
                        + modelMembers.joined(separator: ", ")
                )
            }
            try set(name, member.value, &models[String(id), default: ModelSettings()])
        }
    }

    /// The words that `readModels` reads.
    static func showModels(_ models: [String: ModelSettings]) -> String {
        models.sorted { $0.key < $1.key }.flatMap { id, model in
            modelMembers.compactMap { name in
                value(of: name, in: model).map { "\(id).\(name)=\($0)" }
            }
        }.joined(separator: ",")
    }

    private static func readModel(
        _ raw: RawSetting,
        _ model: inout ModelSettings
    ) throws(RawError) {
        for member in try raw.members() {
            guard member.key == "generation" else {
                try set(member.key, member.value, &model)
                continue
            }
            for sampling in try member.value.members() {
                try set("generation.\(sampling.key)", sampling.value, &model)
            }
        }
    }

    private static func set(
        _ name: String,
        _ raw: RawSetting,
        _ model: inout ModelSettings
    ) throws(RawError) {
        switch name {
        case "path": model.path = try raw.string()
        case "device": model.device = try raw.word(devices)
        case "dtype": model.dtype = try raw.word(dtypes)
        case "quantize": model.quantize = try raw.word(quantisations)
        case "idle_timeout": model.idleTimeout = try raw.double(anySeconds)
        default:
            // Through the row of the global one.
            guard isSampling(name), let field = generation.first(where: { $0.key == name }) else {
                throw RawError(problem: "unknown setting of a model: \(name)")
            }
            var settings = Settings()
            settings.generation = model.generation
            try field.read(raw, &settings)
            model.generation = settings.generation
        }
    }

    private static func value(of name: String, in model: ModelSettings) -> String? {
        switch name {
        case "path": return model.path
        case "device": return model.device
        case "dtype": return model.dtype
        case "quantize": return model.quantize
        case "idle_timeout": return model.idleTimeout.map(number)
        default:
            var settings = Settings()
            settings.generation = model.generation
            let text = generation.first { $0.key == name }?.text(in: settings) ?? ""
            return text.isEmpty ? nil : text
        }
    }
}
