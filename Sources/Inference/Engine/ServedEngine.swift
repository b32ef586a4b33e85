package import EngineLink
package import Logging
package import NN
package import Scheduling
internal import Foundation
internal import Torch

/// A loaded model at work: plan, start, commit.
///
/// On the device the step behind is started before a step's tokens are waited for, where it is computed
/// whatever these are.
package final class ServedEngine {
    /// What `loaded` told.
    package let description: LoadedModel
    private let model: any CausalLanguageModel
    private var scheduler: Scheduler
    private var runner: StepRunner
    private var jobs: [GenerationID: SamplingJob] = [:]
    private var vision: VisionWork?
    private var steps: UInt64 = 0
    /// The step that was started and whose tokens are not known yet.
    private var running: Plan?
    /// Steps that were started while the one before was under way.
    package private(set) var overlaps: UInt64 = 0
    /// Rows of a step; less than the limits say once a step took longer than `patience`.
    private var rows = Int.max
    /// Seconds of a step that the tower may take while text waits for the next one; a block at least.
    private static let visionSlice = 0.01
    /// Seconds that a step may take: all generations wait for it, and the front for a sign of life.
    private static let patience = 5.0
    /// The process's exit status where its device is lost.
    private static let lostDevice: Int32 = 75
    private let log: Logger

    /// An engine without generations; `eyes` where the model takes images and clips.
    package init(
        model: any CausalLanguageModel,
        limits: SchedulerLimits,
        description: LoadedModel,
        eyes: VisionWork.Eyes? = nil,
        log: Logger
    ) {
        self.model = model
        self.description = description
        self.log = log
        vision = eyes.map { VisionWork($0) }
        scheduler = Scheduler(limits)
        runner = StepRunner(model: model, slots: limits.slots, capacity: limits.longest)
    }

    /// Whether a step would do nothing.
    package var isIdle: Bool { scheduler.isIdle && running == nil }

    /// A report.
    package var stats: EngineStats {
        let memory = Device.memory
        return EngineStats(
            slots: scheduler.limits.slots,
            usedSlots: min(scheduler.sequenceCount, scheduler.limits.slots),
            kvTokens: scheduler.limits.kvTokens,
            usedTokens: scheduler.usedTokens,
            residentBytes: Memory.residentBytes,
            steps: steps,
            preempted: scheduler.preempted,
            allocatedBytes: memory.allocated,
            reservedBytes: memory.reserved
        )
    }

    /// Takes a generation in; nil, or why not.
    package func admit(_ id: GenerationID, _ request: GenerationRequest) -> GenerationFailure? {
        let vocabulary = model.vocabularySize
        func isKnown(_ tokens: [Int32]) -> Bool {
            tokens.allSatisfy { $0 >= 0 && Int($0) < vocabulary }
        }
        guard isKnown(request.prompt), request.choices.allSatisfy({ isKnown($0.generated) }) else {
            return GenerationFailure(
                code: "invalid_prompt",
                message: "The prompt has a token outside the vocabulary."
            )
        }
        var media: MediaPrompt?
        if !request.media.isEmpty {
            do { media = try vision?.read(request) } catch {
                return GenerationFailure(code: "invalid_prompt", message: error.description)
            }
            guard media != nil else {
                return GenerationFailure(
                    code: "invalid_prompt",
                    message: "The model takes text only."
                )
            }
        }
        do throws(AdmissionError) {
            try scheduler.admit(id, Submission(request), isReady: media == nil)
            jobs[id] = SamplingJob(request)
            if let media, vision?.add(id, media) ?? false { scheduler.makeReady(id) }
            log.debug(
                "admitted",
                metadata: ["rid": "\(request.label)", "prompt_tokens": "\(request.prompt.count)"]
            )
            return nil
        } catch {
            switch error {
            case .tooLong(let tokens, let limit):
                return GenerationFailure(
                    code: "context_length_exceeded",
                    message: "The context holds \(limit) tokens here; the prompt has \(tokens)."
                )
            case .malformed, .duplicate:
                return GenerationFailure(
                    code: "invalid_prompt",
                    message: "The request leaves nothing to generate."
                )
            }
        }
    }

    /// Drops a choice, or a generation; unknown ids are ignored.
    package func cancel(_ id: GenerationID, choice: Int?) {
        scheduler.cancel(id, choice: choice)
        if !scheduler.contains(id) { end(id, "dropped") }
    }

    private func end(_ id: GenerationID, _ how: String) {
        vision?.remove(id)
        guard let job = jobs.removeValue(forKey: id) else { return }
        log.debug("\(how)", metadata: ["rid": "\(job.label)"])
    }

    private func labels(of plan: Plan) -> String {
        let labels = plan.items.compactMap { jobs[$0.sequence.request]?.label }
        return Set(labels).sorted().joined(separator: ",")
    }

    /// Drops every generation and keeps the model.
    package func cancelAll() {
        scheduler.cancelAll()
        vision?.removeAll()
        jobs = [:]
    }

    /// Gives unused memory back.
    package func trim() {
        runner.trim()
        vision?.trim()
        Device.trim()
    }

    /// A process whose device is spoilt computes nothing any more; the front starts another one, in which the
    /// generations go on.
    private func endIfLost(_ error: any Error) {
        guard Device.isLost else { return }
        log.critical(
            "the device is lost, the engine ends: \(error)",
            metadata: ["device": "\(Device.name)"]
        )
        // Without what runs at exit: it would call the device once more.
        _exit(Self.lostDevice)
    }

    /// One step for all sequences, and a slice of the tower's work.
    package func step() -> [EngineMessage] { textStep() + visionSlice() }

    /// Some blocks of the tower; prompts whose media have passed take part in the next step.
    private func visionSlice() -> [EngineMessage] {
        guard vision?.hasWork ?? false else { return [] }
        let began = Memory.now()
        do {
            repeat {
                let ready = try Torch.checked { vision?.advance() ?? [] }
                for id in ready {
                    scheduler.makeReady(id)
                    let ms = Double(Memory.now() - (vision?.entry(id)?.began ?? 0)) / 1e6
                    log.debug(
                        "media seen",
                        metadata: ["rid": "\(jobs[id]?.label ?? "-")", "ms": "\(ms)"]
                    )
                }
            } while vision?.hasWork ?? false
                && Double(Memory.now() - began) / 1e9 < Self.visionSlice
            return []
        } catch {
            endIfLost(error)
            let lost = vision?.fail() ?? []
            let labels = lost.compactMap { jobs[$0]?.label }.joined(separator: ",")
            log.error("vision failed: \(error)", metadata: ["rid": "\(labels)"])
            return lost.map { fail($0) }
        }
    }

    private func textStep() -> [EngineMessage] {
        if let plan = running { return end(plan) }
        let plan = scheduler.plan(atMost: rows)
        runner.release(plan.released)
        guard !plan.items.isEmpty else {
            return scheduler.isIdle || scheduler.isWaiting ? [] : failAll()
        }
        let began = Memory.now()
        do {
            switch try start(plan) {
            case .running?: return end(plan)
            case .drawn(let drawn)?:
                pace(plan, seconds: Double(Memory.now() - began) / 1e9)
                return commit(drawn, of: plan)
            case nil: return failAll()
            }
        } catch { return fail(plan, error) }
    }

    private func start(_ plan: Plan) throws -> DecodeGraphs.Started? {
        try Torch.checked {
            runner.start(plan, media: { vision?.entry($0) }) {
                jobs[$0.sequence.request]?.row($0) ?? SamplerRow()
            }
        }
    }

    /// Starts the step behind one that is running, if there can be one, and waits for the first.
    private func end(_ plan: Plan) -> [EngineMessage] {
        running = following(plan)
        do {
            return commit(try Torch.checked { runner.answers() }, of: plan)
        } catch { return fail(plan, error) }
    }

    private func following(_ plan: Plan) -> Plan? {
        guard let next = scheduler.following(plan),
            next.items.allSatisfy({ jobs[$0.sequence.request]?.looksBack == false })
        else { return nil }
        do {
            guard case .running? = try start(next) else { return nil }
            overlaps &+= 1
            return next
        } catch {
            // What stands in the way of this step meets the next plan again, which says so.
            endIfLost(error)
            return nil
        }
    }

    /// Ends what took part in a step that failed.
    private func fail(_ plan: Plan, _ error: any Error) -> [EngineMessage] {
        endIfLost(error)
        steps &+= 1
        log.error("step failed: \(error)", metadata: ["rid": "\(labels(of: plan))"])
        return scheduler.fail(plan).map { fail($0) }
    }

    /// Makes the next steps smaller after one that took too long, and larger again after quick ones.
    private func pace(_ plan: Plan, seconds: Double) {
        if seconds < Self.patience / 2, plan.rowCount >= rows, rows < scheduler.limits.stepTokens {
            rows *= 2
            return
        }
        guard seconds > Self.patience, plan.rowCount > scheduler.limits.slots + 1 else { return }
        rows = Int(max(1, Double(plan.rowCount) * Self.patience / seconds))
        log.warning("a step of \(plan.rowCount) tokens took \(Int(seconds)) s: from now on \(rows)")
    }

    /// Takes a step's tokens over: one frame, and a failure for each row that has no token.
    private func commit(_ drawn: [Result<Sampled, SamplerError>], of plan: Plan) -> [EngineMessage]
    {
        steps &+= 1
        var messages: [EngineMessage] = []
        var sampled: [SequenceID: Sampled] = [:]
        for (item, result) in zip(plan.outputs, drawn) {
            switch result {
            case .success(let token): sampled[item.sequence] = token
            case .failure(let error):
                let label = jobs[item.sequence.request]?.label ?? "-"
                log.error("no token: \(error)", metadata: ["rid": "\(label)"])
                // Another choice of the same request may have failed before.
                guard scheduler.contains(item.sequence.request) else { continue }
                messages.append(fail(item.sequence.request))
            }
        }
        let tokens = plan.outputs.map { item in sampled[item.sequence].map { [$0.token] } ?? [] }
        var events: [GenerationToken] = []
        for outcome in scheduler.commit(tokens, of: plan) {
            let id = outcome.sequence.request
            guard let drawn = sampled[outcome.sequence] else { continue }
            jobs[id]?.note(outcome.token, choice: outcome.sequence.choice)
            if outcome.finish != nil, !scheduler.contains(id) { end(id, "finished") }
            events.append(GenerationToken(id: id, event: TokenEvent(outcome, drawn)))
        }
        if !events.isEmpty {
            let step = EngineStep(number: steps, monotonicNs: Memory.now(), tokens: events)
            messages.append(.step(step))
        }
        return messages
    }

    private func fail(_ id: GenerationID) -> EngineMessage {
        cancel(id, choice: nil)
        return .failed(id, .engineFailed)
    }

    /// Nothing can be planned though there is work: cannot happen; ending it beats spinning for ever.
    private func failAll() -> [EngineMessage] {
        log.critical("nothing to plan for \(scheduler.sequenceCount) sequences")
        return jobs.keys.sorted().map { fail($0) }
    }
}

extension Submission {
    /// What of a request concerns the scheduler.
    fileprivate init(_ request: GenerationRequest) {
        self.init(
            prompt: request.prompt,
            choices: request.choices.map { Choice(index: $0.index, generated: $0.generated) },
            ending: Ending(
                maxTokens: request.stop.maxTokens,
                minTokens: request.stop.minTokens,
                stopTokens: request.stop.ignoreEOS ? [] : request.stop.stopTokens
            )
        )
    }
}

extension TokenEvent {
    fileprivate init(_ outcome: Outcome, _ drawn: Sampled) {
        let finish: EngineFinish? =
            switch outcome.finish {
            case .stop?: .stop
            case .length?: .length
            case nil: nil
            }
        self.init(
            choice: outcome.sequence.choice,
            token: outcome.token,
            logprob: drawn.logprob,
            top: drawn.top.map { TokenLogprob(token: $0.token, logprob: $0.logprob) },
            finish: finish
        )
    }
}
