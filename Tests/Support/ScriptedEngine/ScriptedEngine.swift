internal import CLinux
public import EngineLink
internal import Glibc

/// An engine without a model: speaks the real protocol through the real endpoint and follows a script.
///
/// Used by one thread. Anything that the front must never do (more choices than slots, a token
/// outside the vocabulary) fails the generation with code `overcommitted` or `bad_submit`.
public final class ScriptedEngine {
    /// How a run ended.
    public enum End: Sendable, Equatable {
        /// Told to, or left without a front.
        case unloaded
        /// As the script says.
        case crashed
    }

    private struct Choice {
        let id: GenerationID
        let index: Int
        let request: GenerationRequest
        var position: Int
        var prefill: Int
    }

    private let script: EngineScript
    private let endpoint: EngineEndpoint
    private var choices: [Choice] = []
    private var slots = 16
    private var steps = 0
    private var nextStep: UInt64 = 0
    private var reserved = 0
    private let log: UnsafeMutablePointer<FILE>?

    /// Listens.
    /// - Throws: `EngineEndpoint.ListenError`.
    public init(
        script: EngineScript,
        listener: EngineEndpoint.Listener,
        answersPings: Bool = true,
        startGrace: Int = 20
    ) throws(EngineEndpoint.ListenError) {
        self.script = script
        log = script.stepLog.flatMap { fopen($0, "a") }
        var quirks = EngineEndpoint.Quirks()
        quirks.answersPings = answersPings
        if script.hasWrongVersion { quirks.version += 1 }
        endpoint = try EngineEndpoint(
            listener,
            build: "scripted",
            startGrace: startGrace,
            quirks: quirks
        )
    }

    /// Plays until the end.
    public func run() -> End {
        let end = play()
        // A crash leaves at once: what is in the process is lost, as in life.
        if end == .unloaded {
            reserve(0)
            endpoint.finish()
        }
        return end
    }

    private func play() -> End {
        while true {
            for command in endpoint.drain(blocking: choices.isEmpty) {
                if let end = perform(command) { return end }
            }
            guard !choices.isEmpty else { continue }
            waitForStep()
            if let end = step() { return end }
        }
    }

    private func perform(_ command: FrontCommand) -> End? {
        switch command {
        case .load(let request): return load(request)
        case .submit(let id, let request): submit(id, request)
        case .cancel(let id, let choice):
            choices.removeAll { $0.id == id && (choice == nil || $0.index == choice) }
        case .stats: sendStats()
        case .frontGone: choices = []
        case .trim: reserve(min(reserved, script.allocatedBytes))
        case .unload: return script.ignoresUnload ? nil : .unloaded
        case .orphaned: return .unloaded
        }
        return nil
    }

    private func load(_ request: LoadRequest) -> End? {
        slots = script.slots ?? request.maxSlots
        let parts = 20
        for part in 1...parts {
            if script.loadSeconds > 0 { usleep(UInt32(script.loadSeconds / Double(parts) * 1e6)) }
            if part == parts / 2 {
                if script.crashesInLoad { return .crashed }
                if script.hangsInLoad { hang() }
            }
            endpoint.send(.progress(done: part * 1_000_000, total: parts * 1_000_000))
        }
        if let cause = script.loadFailure {
            endpoint.send(.loadFailed(LoadFailure(cause: cause, detail: "/secret/path says so")))
            return nil
        }
        reserve(script.reservedBytes)
        endpoint.send(
            .loaded(
                LoadedModel(
                    modelID: request.modelID,
                    revision: script.revision,
                    vocabularySize: script.vocabularySize,
                    contextLength: script.contextLength,
                    slots: slots,
                    kvTokens: script.kvTokens,
                    dtype: "float32",
                    device: script.device,
                    residentBytes: Self.residentBytes,
                    loadSeconds: script.loadSeconds,
                    busID: script.busID
                )
            )
        )
        return nil
    }

    /// Sets what the allocator holds, and what a GPU's memory looks like from outside.
    private func reserve(_ bytes: Int) {
        reserved = bytes
        // A rename: the reader sees the old text or the new one.
        guard let path = script.gpuFile, let file = fopen(path + ".new", "w") else { return }
        fputs("gpus \(script.gpuBytes) \(script.gpuBytes - bytes)\n", file)
        fclose(file)
        rename(path + ".new", path)
    }

    private func submit(_ id: GenerationID, _ request: GenerationRequest) {
        if let poison = script.poisonToken, request.prompt.contains(poison) { _exit(9) }
        if let token = script.failToken, request.prompt.contains(token) {
            return endpoint.send(
                .failed(id, GenerationFailure(code: "context_length_exceeded", message: "too long"))
            )
        }
        guard choices.count + request.choices.count <= slots else {
            return endpoint.send(
                .failed(id, GenerationFailure(code: "overcommitted", message: "no free slot"))
            )
        }
        guard request.prompt.allSatisfy({ Int($0) < script.vocabularySize }) else {
            return endpoint.send(
                .failed(id, GenerationFailure(code: "bad_submit", message: "unknown token"))
            )
        }
        if choices.isEmpty { nextStep = tg_monotonic_ns() + stepNanoseconds }
        for choice in request.choices {
            choices.append(
                Choice(
                    id: id,
                    index: choice.index,
                    request: request,
                    position: choice.generated.count,
                    prefill: script.prefillSteps
                )
            )
        }
    }

    private var stepNanoseconds: UInt64 { UInt64(max(0, script.stepMs) * 1e6) }

    private func waitForStep() {
        let now = tg_monotonic_ns()
        if nextStep > now {
            usleep(UInt32((nextStep - now) / 1000))
            nextStep += stepNanoseconds
        } else {
            nextStep = now + stepNanoseconds
        }
    }

    private func step() -> End? {
        steps += 1
        if steps == script.crashAfterSteps { return .crashed }
        if steps == script.hangAfterSteps { hang() }
        if steps == script.garbageAfterSteps {
            endpoint.sendRaw([UInt8](repeating: 0xA5, count: 64))
        }
        var tokens: [GenerationToken] = []
        var left: [Choice] = []
        for var choice in choices {
            if choice.prefill > 0 {
                choice.prefill -= 1
                left.append(choice)
                continue
            }
            let event = event(for: choice)
            tokens.append(GenerationToken(id: choice.id, event: event))
            choice.position += 1
            if event.finish == nil { left.append(choice) }
        }
        choices = left
        guard !tokens.isEmpty else {
            endpoint.noteProgress()
            return nil
        }
        let now = tg_monotonic_ns()
        if let log {
            fputs("\(now)\n", log)
            fflush(log)
        }
        endpoint.send(.step(EngineStep(number: UInt64(steps), monotonicNs: now, tokens: tokens)))
        return nil
    }

    private func event(for choice: Choice) -> TokenEvent {
        let request = choice.request
        var event = TokenEvent(
            choice: choice.index,
            token: script.token(
                prompt: request.prompt,
                seed: request.sampling.seed,
                choice: choice.index,
                position: choice.position
            )
        )
        if !script.tokens.isEmpty, choice.position >= script.tokens.count, !request.stop.ignoreEOS,
            let stop = request.stop.stopTokens.first
        {
            event.token = stop
            event.finish = .stop
        } else if choice.position + 1 >= request.stop.maxTokens
            || request.prompt.count + choice.position + 1 >= script.contextLength
        {
            event.finish = .length
        }
        if let count = request.logprobs {
            event.logprob = -0.5
            event.top = (0..<count).map { rank in
                TokenLogprob(
                    token: (event.token + Int32(rank)) % Int32(script.vocabularySize),
                    logprob: -0.5 - Float(rank)
                )
            }
        }
        return event
    }

    /// Stands still until somebody ends the process.
    private func hang() { while true { sleep(1000) } }

    private func sendStats() {
        let used = choices.reduce(0) { $0 + $1.request.prompt.count + $1.position }
        endpoint.send(
            .stats(
                EngineStats(
                    slots: slots,
                    usedSlots: choices.count,
                    kvTokens: script.kvTokens,
                    usedTokens: used,
                    residentBytes: Self.residentBytes,
                    steps: UInt64(steps),
                    allocatedBytes: script.allocatedBytes,
                    reservedBytes: reserved
                )
            )
        )
    }

    private static var residentBytes: Int {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = read(file, &buffer, buffer.count)
        let words = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self).split(
            separator: " "
        )
        return words.count > 1 ? (Int(words[1]) ?? 0) * 4096 : 0
    }
}
