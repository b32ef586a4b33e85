internal import EngineLink
internal import JSON
internal import Settings

// The public pages: no key, no secrets, only words from a catalogue.
extension Application {
    /// GET /: name and version.
    func root(_ call: Call) {
        call.send(["message": "Torchgate", "version": .string(Build.version)])
    }

    /// GET /livez: the process answers.
    func live(_ call: Call) { call.send(["status": "ok"]) }

    /// GET /readyz: new work is accepted, also with the model unloaded; 503 while draining, and while the
    /// keys cannot be read (the log says why).
    func ready(_ call: Call) {
        let refusal = refusal
        call.send(status: refusal == nil ? 200 : 503, ["status": .string(refusal ?? "ready")])
    }

    /// GET /health: what pollers of three other servers look for, in one object.
    func health(_ call: Call) {
        let status = engines.summary()
        let refusal = refusal
        let healthy = refusal == nil
        let up = status.state == .serving
        let error = status.state == .coolDown ? status.cause?.rawValue : nil
        call.send(
            status: healthy ? 200 : 503,
            [
                "ok": .bool(healthy),
                "status": .string(refusal ?? "healthy"),
                "model_loaded": .bool(up),
                "modelReady": .bool(healthy && (up || status.state != .coolDown)),
                "modelId": .text(status.modelID ?? models.standardID),
                "device": .string(status.model?.device ?? settings.engine.device),
                "error": .text(error),
            ]
        )
    }

    /// GET /status: what the engine is doing.
    func status(_ call: Call) {
        let status = engines.summary()
        let loaded = status.state == .serving || status.state == .draining
        let word: JSONValue =
            switch status.state {
            case .absent, .coolDown: "unloaded"
            case .loading: "loading"
            case .serving: "loaded"
            case .draining: "draining"
            }
        var body: JSONObject = JSONObject()
        body["loaded_model"] = .text(loaded ? status.modelID : nil)
        body["dtype"] = .text(loaded ? status.model?.dtype : nil)
        body["weights"] = .text(loaded ? status.model?.weights : nil)
        body["remaining_time_seconds"] = status.remainingIdleSeconds.map { .int($0) } ?? .null
        body["status"] = word
        if status.state == .loading { body["progress"] = .double(status.progress) }
        body["running"] = .int(status.running)
        body["waiting"] = .int(status.waiting)
        body["kv_tokens_used"] = .int(status.kvUsed)
        body["kv_tokens"] = .int(status.kvTotal)
        body["error"] = .text(status.state == .coolDown ? status.cause?.rawValue : nil)
        body["memory"] = .object(JSONObject(memory.memory(of: engines).members))
        let all = engines.summaries()
        if all.count > 1 {
            body["loaded_models"] = .array(
                all.compactMap { $0.state == .serving ? .text($0.modelID) : nil }
            )
        }
        call.send(.object(body))
    }

    /// POST /unload: drains up to `?timeout=` seconds, `?force=true` ends running generations.
    func unload(_ call: Call) {
        let timeout = call.query("timeout").flatMap(Double.init) ?? 30
        let force = call.query("force") == "true"
        let before = engines.summary()
        memory.note(engines)
        let ends = memory.endCount
        switch engines.unload(timeout: min(max(0, timeout), 600), force: force) {
        case .unloaded:
            let releases = memory.releases(after: ends, seconds: 3)
            call.send([
                "message": .string(Self.words(releases, else: before.modelID ?? "")),
                "status": "unloaded",
            ])
        case .nothingLoaded:
            call.send(["message": "No model was loaded.", "status": "unloaded"])
        case .busy(let running):
            call.send(
                status: 200,
                [
                    "message": .string(
                        "\(running) generations are still running; nothing was unloaded."
                    ),
                    "status": "loaded",
                ]
            )
        }
    }
}

extension Application {
    /// What was unloaded, and what that freed as measured from outside the engines.
    private static func words(_ releases: [MemoryWatch.Release], else name: String) -> String {
        let names = releases.map(\.end.model.modelID)
        var words = "Model \(names.isEmpty ? name : names.joined(separator: ", ")) unloaded"
        let freed = releases.compactMap(\.freed)
        if !freed.isEmpty { words += "; \(DeviceMemory.words(freed.reduce(0, +))) of memory freed" }
        if let left = releases.last?.left { words += ", \(DeviceMemory.words(left)) available" }
        return words + "."
    }
}

extension JSONValue {
    /// The string, or `null`.
    static func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
}
