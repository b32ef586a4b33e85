internal import CLinux
internal import EngineLink
internal import Generations
internal import Logging
internal import OpenAI
internal import Streams
internal import Synchronization
internal import Text

/// One request's way through the transcript: engine events in, stream items out.
///
/// `take` is called in order by one lane of the work pool; the lock is for `setID` and `abandon`.
final class GenerationRun: Sendable {
    private struct State {
        var transcripts: [Transcript]
        var ids: [GenerationID?]
        /// Choices of a part that ended before the part had its id.
        var cancelled: [[Int]]
        var open: Int
        var isOver = false
        var generated = 0
    }

    /// Chooses the pool's lane.
    let number = tg_monotonic_ns()
    private let plan: GenerationPlan
    private let stream: GenerationStream
    private let generator: Generator
    private let principal: Principal
    private let state: Mutex<State>

    init(plan: GenerationPlan, stream: GenerationStream, generator: Generator, principal: Principal)
    {
        self.plan = plan
        self.stream = stream
        self.generator = generator
        self.principal = principal
        let transcripts = plan.prompts.indices.map { part in
            Transcript(
                choices: plan.n,
                firstIndex: part * plan.n,
                stop: plan.stopStrings,
                logprobs: plan.logprobs != nil,
                minTokens: plan.stop.minTokens
            ) { ModelDecoder(plan.model.tokenizer) }
        }
        let count = transcripts.count
        state = Mutex(
            State(
                transcripts: transcripts,
                ids: Array(repeating: nil, count: count),
                cancelled: Array(repeating: [], count: count),
                open: count
            )
        )
    }

    /// The supervisor's name of a part.
    func setID(_ id: GenerationID, part: Int) {
        let (isOver, cancelled) = state.withLock { state in
            state.ids[part] = id
            return (state.isOver, state.cancelled[part])
        }
        if isOver { generator.engines.cancel(id, choice: nil) }
        for choice in cancelled { generator.engines.cancel(id, choice: choice) }
    }

    /// The request was refused after some of its parts were submitted.
    func abandon() {
        let (was, ids) = state.withLock { state in
            defer { state.isOver = true }
            return (state.isOver, state.ids)
        }
        guard !was else { return }
        for id in ids { if let id { generator.engines.cancel(id, choice: nil) } }
        stream.context.setCanceller(nil)
        settle(used: 0)
    }

    /// Takes one event of a part.
    func take(_ event: GenerationEvent, part: Int) {
        switch event {
        case .queued:
            _ = stream.context.enter(.queued)
        case .loading(let fraction):
            if stream.context.enter(.loading(fraction)) { stream.log.wake() }
        case .started(let model):
            stream.context.note(fingerprint: Build.fingerprint(of: model))
            _ = stream.context.enter(.running)
        case .restarted:
            generator.log.notice(
                "generation continues on a new engine",
                metadata: ["rid": "\(stream.context.requestID)"]
            )
        case .tokens(let tokens):
            stream.context.noteToken()
            consume(tokens, part)
        case .finished: finish(part)
        case .failed(let failure): fail(Generator.error(failure))
        }
    }

    private func consume(_ tokens: [TokenEvent], _ part: Int) {
        let (step, id, isOver) = state.withLock { state -> (Transcript.Step, GenerationID?, Bool) in
            guard !state.isOver else { return (Transcript.Step(), nil, true) }
            let step = state.transcripts[part].consume(tokens)
            if state.ids[part] == nil { state.cancelled[part] += step.cancelled }
            return (step, state.ids[part], false)
        }
        guard !isOver else { return }
        if let id { for choice in step.cancelled { generator.engines.cancel(id, choice: choice) } }
        deliver(step.events)
        generator.metrics.count("torchgate_tokens_generated_total", Double(tokens.count))
    }

    private func deliver(_ events: [OutputEvent]) {
        var items: [StreamItem] = []
        items.reserveCapacity(events.count)
        for event in events {
            switch event {
            case .opened(let choice):
                items.append(.role(choice: choice))
                let part = choice / max(1, plan.n)
                if plan.echoes.indices.contains(part) {
                    items.append(.text(choice: choice, plan.echoes[part], nil))
                }
            case .text(let choice, let text, let tokens):
                let entries = plan.logprobs == nil ? nil : tokens.map(LogprobEntry.init)
                items.append(.text(choice: choice, text, entries))
            case .finished(let choice, let reason, _):
                items.append(.finish(choice: choice, reason == .stop ? .stop : .length))
            case .failed(let failure):
                return fail(Generator.error(failure))
            }
        }
        stream.log.append(items)
    }

    /// Answers with the prompts alone.
    func echo() {
        for choice in 0..<plan.prompts.count * plan.n {
            let text = plan.echoes.isEmpty ? "" : plan.echoes[choice / plan.n]
            stream.log.append([
                .role(choice: choice), .text(choice: choice, text, nil),
                .finish(choice: choice, .length),
            ])
        }
        state.withLock { $0.isOver = true }
        complete(generated: 0)
    }

    private func finish(_ part: Int) {
        let (events, isLast, used) = state.withLock { state -> ([OutputEvent], Bool, Int) in
            guard !state.isOver else { return ([], false, 0) }
            let events = state.transcripts[part].end()
            state.open -= 1
            if state.open == 0, events.isEmpty { state.isOver = true }
            let used = state.transcripts.reduce(0) { $0 + $1.completionTokens }
            return (events, state.open == 0, used)
        }
        if !events.isEmpty { return fail(.engineFailed) }
        if isLast { complete(generated: used) }
    }

    private func complete(generated used: Int) {
        var usage = Usage(promptTokens: plan.promptTokens, completionTokens: used)
        usage.media = plan.placedMedia.map(\.usage)
        var timings = stream.context.timings()
        if !usage.media.isEmpty { timings.media = plan.mediaSeconds }
        stream.log.append([.usage(usage, timings)])
        stream.context.setCanceller(nil)
        generator.registry.finish(stream)
        settle(used: plan.promptTokens + used)
        generator.metrics.count("torchgate_requests_finished_total{outcome=\"complete\"}")
        generator.metrics.observe(
            "torchgate_request_seconds",
            monotonicSeconds() - stream.context.times.submitted
        )
    }

    /// Ends the generation with an error; does nothing once it is over.
    func fail(_ error: APIError) {
        let (was, ids, used) = state.withLock { state -> (Bool, [GenerationID?], Int) in
            defer { state.isOver = true }
            let used = state.transcripts.reduce(0) { $0 + $1.completionTokens }
            return (state.isOver, state.ids, used)
        }
        guard !was else { return }
        for id in ids { if let id { generator.engines.cancel(id, choice: nil) } }
        stream.context.setCanceller(nil)
        stream.log.append([.failure(error)])
        generator.registry.finish(stream)
        settle(used: plan.promptTokens + used)
        generator.metrics.count("torchgate_requests_finished_total{outcome=\"failed\"}")
    }

    /// Gives back what the request did not use.
    private func settle(used: Int) {
        let reserved = plan.reservation
        generator.limiter.with(principal.keyID, principal.limits, now: monotonicSeconds()) {
            budget in
            budget.settle(reserved: reserved, used: used)
        }
    }
}

/// The tokeniser's incremental decoder in the transcript's form.
struct ModelDecoder: TokenDecoder {
    private let tokenizer: Tokenizer
    private var detokenizer: Detokenizer

    init(_ tokenizer: Tokenizer) {
        self.tokenizer = tokenizer
        detokenizer = Detokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
    }

    mutating func append(_ token: Int32) -> String { detokenizer.append(token) }
    mutating func finish() -> String { detokenizer.finish() }
    func bytes(of token: Int32) -> [UInt8] { tokenizer.bytes(of: token) }
}

extension LogprobEntry {
    init(_ report: TokenReport) {
        self.init(
            token: Token(bytes: report.token.bytes, logprob: report.token.logprob),
            top: report.top.map { Token(bytes: $0.bytes, logprob: $0.logprob) },
            textOffset: report.textOffset
        )
    }
}
