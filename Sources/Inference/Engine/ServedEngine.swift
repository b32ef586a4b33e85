internal import EngineLink
internal import NN
internal import Scheduling
internal import Torch

/// A loaded model at work: plan, run, commit.
final class ServedEngine {
    /// What `loaded` told.
    let description: LoadedModel
    private let model: any CausalLanguageModel
    private var scheduler: Scheduler
    private var runner: StepRunner
    private var jobs: [GenerationID: SamplingJob] = [:]
    private var steps: UInt64 = 0
    private let endpoint: EngineEndpoint
    private let log: (String) -> Void

    init(
        model: any CausalLanguageModel,
        limits: Scheduler.Limits,
        description: LoadedModel,
        endpoint: EngineEndpoint,
        log: @escaping (String) -> Void
    ) {
        self.model = model
        self.description = description
        self.endpoint = endpoint
        self.log = log
        scheduler = Scheduler(limits: limits)
        runner = StepRunner(model: model, slots: limits.slots, capacity: limits.reach)
    }

    var isIdle: Bool { scheduler.isIdle }

    var stats: EngineStats {
        EngineStats(
            slots: scheduler.limits.slots,
            usedSlots: scheduler.count,
            kvTokens: scheduler.limits.kvTokens,
            usedTokens: scheduler.held,
            residentBytes: Memory.residentBytes,
            steps: steps,
            preempted: scheduler.preemptions
        )
    }

    /// Takes a generation in; nil, or why not.
    func admit(_ id: GenerationID, _ request: GenerationRequest) -> GenerationFailure? {
        let tokens = [request.prompt] + request.choices.map(\.generated)
        guard tokens.joined().allSatisfy({ $0 >= 0 && Int($0) < model.vocabularySize }) else {
            return GenerationFailure(
                code: "invalid_prompt",
                message: "A token id is outside the vocabulary."
            )
        }
        let wanted = SchedulerRequest(
            id: id,
            prompt: request.prompt,
            choices: request.choices.map { .init(index: $0.index, generated: $0.generated) },
            maxTokens: request.stop.maxTokens,
            stopTokens: request.stop.ignoreEOS ? [] : Set(request.stop.stopTokens)
        )
        switch scheduler.admit(wanted) {
        case nil:
            jobs[id] = SamplingJob(request)
            return nil
        case .tooLong(let length, let limit)?:
            return GenerationFailure(
                code: "context_length_exceeded",
                message: "The model's context holds \(limit) tokens here; the prompt has \(length)."
            )
        case .empty?, .duplicate?:
            return GenerationFailure(
                code: "invalid_prompt",
                message: "The prompt cannot be computed."
            )
        }
    }

    func cancel(_ id: GenerationID, choice: Int?) {
        runner.release(scheduler.cancel(id, choice: choice))
        forgetFinished()
    }

    func cancelAll() {
        runner.release(scheduler.removeAll())
        jobs = [:]
    }

    func trim() { runner.trim() }

    /// One step for all sequences.
    func step() -> [EngineMessage] {
        let plan = scheduler.plan()
        guard !plan.work.isEmpty else { return failStuck() }
        steps += 1
        do {
            let sampled = try Torch.checked { runner.run(plan, jobs, scheduler) }
            return commit(sampled, of: plan)
        } catch {
            log("step failed: \(error)")
            return plan.work.map(\.key.request).uniqued.map { fail($0, .engineFailed) }
        }
    }

    private func commit(_ sampled: [SequenceKey: Result<Sampled, SamplerError>], of plan: Plan)
        -> [EngineMessage]
    {
        var messages: [EngineMessage] = []
        var tokens: [SequenceKey: [Int32]] = [:]
        for (key, result) in sampled {
            switch result {
            case .success(let choice): tokens[key] = [choice.token]
            case .failure(let error):
                log("no token for generation \(key.request): \(error)")
                messages.append(fail(key.request, .engineFailed))
            }
        }
        let commit = scheduler.commit(tokens, of: plan)
        runner.release(commit.released)
        var events: [GenerationToken] = []
        for outcome in commit.outcomes {
            jobs[outcome.key.request]?.note(outcome.token, choice: outcome.key.choice)
            guard case .success(let choice)? = sampled[outcome.key] else { continue }
            events.append(
                GenerationToken(
                    id: outcome.key.request,
                    event: TokenEvent(
                        choice: outcome.key.choice,
                        token: outcome.token,
                        logprob: choice.logprob,
                        top: choice.top.map { TokenLogprob(token: $0.token, logprob: $0.logprob) },
                        finish: outcome.end.map { $0 == .stop ? .stop : .length }
                    )
                )
            )
        }
        if !commit.released.isEmpty { forgetFinished() }
        if events.isEmpty {
            endpoint.noteProgress()
        } else {
            messages.append(
                .step(EngineStep(number: steps, monotonicNs: Memory.now(), tokens: events))
            )
        }
        return messages
    }

    private func fail(_ id: GenerationID, _ failure: GenerationFailure) -> EngineMessage {
        cancel(id, choice: nil)
        jobs[id] = nil
        return .failed(id, failure)
    }

    /// Nothing can be planned though there is work: cannot happen; ending it beats spinning for ever.
    private func failStuck() -> [EngineMessage] {
        log("nothing to plan for \(scheduler.count) sequences")
        return scheduler.requests.map { fail($0, .engineFailed) }
    }

    private func forgetFinished() {
        let open = scheduler.requests
        for id in jobs.keys where !open.contains(id) { jobs[id] = nil }
    }
}

extension Array where Element: Hashable {
    fileprivate var uniqued: [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
