internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import Logging
internal import OpenAI
internal import Settings
internal import Synchronization

/// The models of this machine and what of them is in memory.
///
/// Safe from any thread.
///
/// A model's tokeniser and template are read at its first use and again when its files change.
final class ModelLibrary: Sendable {
    private struct State {
        var entries: [CatalogEntry] = []
        var scanned = -Double.infinity
        var served: [String: ServedModel] = [:]
        var repositories: [CachedRepository] = []
        var weighed = -Double.infinity
    }

    private let settings: Settings
    private let state = Mutex(State())
    /// One reader of files at a time: two requests must not parse the same vocabulary twice.
    private let reading = Mutex(())

    /// Hears of models that cannot be read.
    let faults: ModelFaults

    init(settings: Settings, log: Logger? = nil) {
        self.settings = settings
        faults = ModelFaults(log: log)
    }

    /// Everything that is there; looked up again after two seconds.
    func catalog() -> [CatalogEntry] {
        let now = monotonicSeconds()
        if let fresh = state.withLock({ now - $0.scanned < 2 ? $0.entries : nil }) { return fresh }
        let entries = ModelFolders.entries(settings)
        state.withLock { state in
            state.entries = entries
            state.scanned = now
        }
        return entries
    }

    /// What lies on the disk, with its size; looked up again after ten seconds.
    func repositories() -> [CachedRepository] {
        let now = monotonicSeconds()
        let known = state.withLock { now - $0.weighed < 10 ? $0.repositories : nil }
        if let known { return known }
        let home = ModelFolders.huggingFaceHome(settings)
        let list = CachedRepository.list(catalog(), huggingFaceHome: home)
        state.withLock { state in
            state.repositories = list
            state.weighed = now
        }
        return list
    }

    /// The model of requests that name none.
    var standardID: String? {
        if !settings.models.standard.isEmpty { return settings.models.standard }
        let entries = catalog()
        return entries.count == 1 ? entries[0].id : nil
    }

    /// The entry that a request's `model` names.
    /// - Throws: 404, or 400 where none is named and there is no default.
    func entry(named name: String?) throws(APIError) -> CatalogEntry {
        guard let wanted = name ?? standardID else { throw .missing("model") }
        let id = settings.models.aliases[wanted] ?? wanted
        let entries = catalog()
        if let entry = entries.first(where: { $0.id == id }) { return entry }
        if settings.models.unknown == .default, let standard = standardID,
            let entry = entries.first(where: { $0.id == standard })
        {
            return entry
        }
        throw .modelNotFound(wanted)
    }

    /// The model, read if need be.
    /// - Throws: 404 or 503.
    func model(named name: String?, for principal: Principal?) throws(APIError) -> ServedModel {
        let entry = try entry(named: name)
        if let principal, !principal.mayUse(model: entry.id) { throw .modelNotAllowed(entry.id) }
        return try read(entry)
    }

    /// The model of an entry, from memory where its files have not changed.
    func read(_ entry: CatalogEntry) throws(APIError) -> ServedModel {
        let identity = ServedModel.identity(of: entry)
        let known: @Sendable () -> ServedModel? = { [self] in
            state.withLock { $0.served[entry.id] }.flatMap { $0.identity == identity ? $0 : nil }
        }
        if let model = known() { return model }
        let result: Result<ServedModel, APIError> = reading.withLock { _ in
            if let model = known() { return .success(model) }
            do throws(ModelFault) {
                let model = try ServedModel(entry, identity: identity)
                state.withLock { $0.served[entry.id] = model }
                return .success(model)
            } catch {
                faults.note(error, model: entry.id, path: entry.path, identity: identity)
                return .failure(error.error)
            }
        }
        return try result.get()
    }

    /// How the engine is told to load a model.
    func loadRequest(for model: ServedModel) -> LoadRequest {
        let own = settings.models.settings[model.id]
        let engine = settings.engine
        let idle = own?.idleTimeout ?? engine.idleTimeout
        func some(_ value: Int) -> Int? { value == 0 ? nil : value }
        return LoadRequest(
            path: model.path,
            modelID: model.id,
            filesIdentity: model.identity,
            device: own?.device ?? engine.device,
            dtype: own?.dtype ?? engine.dtype,
            quantize: own?.quantize ?? engine.quantize,
            bnbComputeType: engine.bnbComputeType,
            maxSlots: engine.slots,
            maxContext: some(engine.maxContext),
            kvTokens: some(engine.kvTokens),
            stepTokens: engine.stepTokens,
            threads: some(engine.threads),
            videoPositions: settings.compat.videoPositions.rawValue,
            visionCacheBytes: settings.engine.visionCacheBytes,
            orphanGrace: Int(engine.orphanGrace.rounded(.up)),
            idleTimeout: Int(idle.rounded(.up))
        )
    }
}
