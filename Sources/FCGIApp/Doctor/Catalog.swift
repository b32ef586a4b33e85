internal import Settings
internal import Checkpoints
internal import Foundation

extension Doctor {
    /// The model folders and the default model.
    func catalog() -> [Finding] { [modelFolders(), defaultModel()] }

    package func modelFolders() -> Finding {
        let name = "models"
        let folders = settings.models.directories
        for (id, model) in settings.models.settings.sorted(by: { $0.key < $1.key }) {
            guard let path = model.path, FileFacts(path) == nil else { continue }
            return .failure(
                name,
                "models.settings.\(id).path: \(path): \(systemMessage())",
                mend: "correct the path, or drop it"
            )
        }
        let unnamed = ModelCatalog.unnamed(
            named: settings.models.settings.compactMapValues(\.path),
            directories: folders
        )
        if let path = unnamed.first {
            let more = unnamed.count > 1 ? " and \(unnamed.count - 1) more" : ""
            return .warning(
                name,
                "\(path.debugDescription)\(more): the name cannot be an id (letters, digits, '.', '_', '-')",
                mend: "rename it, or give it an id with models.settings.ID.path"
            )
        }
        guard !models.isEmpty else {
            return .failure(
                name,
                "no model in \(folders.joined(separator: ", ")) or the Hugging Face cache",
                mend: "put a model's folder (config.json, *.safetensors) or a .gguf file there, "
                    + "or set models.directories"
            )
        }
        let unreadable = folders.filter { access($0, R_OK | X_OK) != 0 }
        guard unreadable.isEmpty else {
            return .warning(
                name,
                "\(Self.listed(models.map(\.id))); cannot read \(unreadable.joined(separator: ", "))",
                mend: "make it, open it to the server's user, or drop it from models.directories"
            )
        }
        return .ok(name, Self.listed(models.map(\.id)))
    }

    package func defaultModel() -> Finding {
        let name = "default model"
        let wanted = settings.models.standard
        if wanted.isEmpty, models.count != 1 {
            return .warning(
                name,
                "models.default is empty: every request must name a model",
                mend: "set models.default"
            )
        }
        guard let entry = defaultEntry else {
            let others = models.isEmpty ? "" : ", or name one of: \(Self.listed(models.map(\.id)))"
            return .failure(
                name,
                "models.default is \(wanted), which is not there",
                mend: "put it into a folder of models.directories\(others)"
            )
        }
        guard entry.hasWeights else {
            return .failure(
                name,
                "\(entry.path) has no weights",
                mend: "fetch model.safetensors, or the index with its parts"
            )
        }
        if let closed = weightFiles.first(where: { access($0, R_OK) != 0 }) {
            return .failure(
                name,
                "\(closed): \(systemMessage())",
                mend: "chmod a+r it, or fetch it again"
            )
        }
        do throws(CheckpointError) {
            // Headers only, as the engine reads them.
            let checkpoint = try Checkpoint(opening: entry.path)
            try checkpoint.configuration.checkArchitecture()
        } catch {
            return .failure(name, "\(entry.path): \(error)", mend: Self.mend(of: error))
        }
        if let problem = readModel(entry) {
            return .failure(
                name,
                "\(entry.path): \(problem)",
                mend: "fetch config.json and the tokeniser's files again, readable by the server"
            )
        }
        let size = readable(bytes: weightBytes)
        return .ok(name, "\(entry.id), \(size) of weights, in \(entry.path)")
    }

    private static func mend(of error: CheckpointError) -> String {
        switch error.kind {
        case .missing: "fetch \(error.file) again, whole and readable by the server"
        case .corrupt: "fetch \(error.file) again: it is damaged or was cut off"
        case .unsupported:
            "choose another model with models.default; served: \(Architecture.names.joined(separator: ", "))"
        }
    }

    /// The model of requests that name none.
    var defaultEntry: CatalogEntry? {
        let wanted = settings.models.standard
        if wanted.isEmpty { return models.count == 1 ? models[0] : nil }
        let id = settings.models.aliases[wanted] ?? wanted
        return models.first { $0.id == id }
    }

    /// The default model's files of weights.
    var weightFiles: [String] {
        guard let entry = defaultEntry else { return [] }
        guard FileFacts(entry.path)?.isFolder == true else { return [entry.path] }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: entry.path)) ?? []
        let safe = names.filter { $0.hasSuffix(".safetensors") }
        let files = safe.isEmpty ? names.filter { $0.hasSuffix(".gguf") || $0 == "model.pt" } : safe
        return files.sorted().map { "\(entry.path)/\($0)" }
    }

    /// Bytes of the default model's weights on the disk.
    var weightBytes: Int {
        weightFiles.reduce(0) { $0.addingReportingOverflow(FileFacts($1)?.size ?? 0).partialValue }
    }

    private static func listed(_ names: [String]) -> String {
        let shown = names.prefix(8).joined(separator: ", ")
        return names.count > 8 ? "\(shown) and \(names.count - 8) more" : shown
    }
}
