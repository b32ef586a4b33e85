internal import EngineLink
internal import JSON

// GET /vram_status and POST /clear_vram: what the models' device holds.
extension Application {
    /// GET /vram_status: the allocators' figures as the engines report them, the device's as seen from outside.
    func memoryStatus(_ call: Call) {
        call.send(.object(JSONObject(memory.memory(of: engines).members)))
    }

    /// POST /clear_vram: has the engines empty their caches, and says what that gave back.
    func clearMemory(_ call: Call) {
        let before = memory.memory(of: engines)
        let serving = engines.summaries().count { $0.state == .serving }
        let cleared = engines.trim(timeout: 10)
        let after = memory.memory(of: engines, age: 0)
        let message: String
        if serving == 0 {
            message = "No model is loaded; there is nothing to clear."
        } else if cleared == 0 {
            message = "The engine is busy; it clears its caches after its present step."
        } else {
            let freed = DeviceMemory.words(max(0, before.reserved - after.reserved))
            message = "Caches cleared; \(freed) of memory given back."
        }
        let isDone = serving == 0 || cleared > 0
        var body = JSONObject([
            ("status", isDone ? "success" : "pending"), ("message", .string(message)),
        ])
        for (name, value) in after.members { body[name] = value }
        call.send(.object(body))
    }
}
