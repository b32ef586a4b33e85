internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import Logging
internal import Models
internal import NN
internal import Scheduling
internal import Torch
internal import Vision
internal import Weights

/// Loads a model as the front asks and sizes its cache.
struct ModelLoader {
    let request: LoadRequest
    /// Hears of the progress; nil: nobody does.
    let endpoint: EngineEndpoint?
    var library = DeviceLibrary(environment: [:])
    let log: Logger
    /// The checkpoint where it is open already; nil: the one that the request names.
    var checkpoint: Checkpoint?

    /// - Throws: what `failure(of:)` explains.
    func load() throws -> ServedEngine {
        let began = Memory.now()
        let refusal = try library.start(request.device)
        log.notice(
            "\(refusal ?? Device.model)",
            metadata: ["device": "\(refusal == nil ? Device.name : "cpu")"]
        )
        Torch.start(threads: request.threads ?? Memory.processors)
        let checkpoint = try checkpoint ?? Checkpoint(opening: request.path)
        let (dtype, form) = try numbers(of: checkpoint)
        var lastTold = 0
        let plan = MemoryPlan(of: checkpoint, dtype: dtype.rawValue, form: form)
        try plan.check(available: available, context: request.maxContext)
        let model = try ModelRegistry.load(checkpoint, dtype: dtype, form: form) {
            [endpoint] done, total in
            endpoint?.noteProgress()
            guard done - lastTold > total / 50 || done == total else { return }
            lastTold = done
            endpoint?.send(.progress(done: done, total: total))
        }
        let eyes = try eyes(of: model, checkpoint)
        let limits = limits(for: model)
        // libtorch's products on a GPU promise no such thing.
        if dtype == .float32, refusal != nil { try selfTest(model) }
        let isInvented = checkpoint.invented != nil
        let kept =
            isInvented ? MemoryPlan(of: checkpoint, dtype: dtype.rawValue, form: form) : plan
        let description = LoadedModel(
            modelID: request.modelID,
            revision: checkpoint.revision,
            vocabularySize: model.vocabularySize,
            contextLength: limits.longest,
            slots: limits.slots,
            kvTokens: limits.kvTokens,
            dtype: dtype.rawValue,
            weights: kept.weights,
            device: refusal == nil ? Device.name : "cpu",
            residentBytes: Memory.residentBytes,
            loadSeconds: Double(Memory.now() - began) / 1e9,
            busID: refusal == nil ? Device.busID : ""
        )
        log.notice(
            "loaded",
            metadata: [
                "model": "\(request.modelID)", "dtype": "\(dtype.rawValue)",
                "weights": "\(kept.weights)",
                "slots": "\(limits.slots)", "kv_tokens": "\(limits.kvTokens)",
                "ms": "\(Int(description.loadSeconds * 1000))",
            ]
        )
        return ServedEngine(
            model: model,
            limits: limits,
            description: description,
            eyes: eyes,
            log: log
        )
    }

    /// What the request wants to compute in, and how it wants weights kept.
    private func numbers(of checkpoint: Checkpoint) throws -> (Tensor.DType, WeightForm) {
        guard let form = WeightForm(dtype: request.dtype, quantize: request.quantize) else {
            throw ModelError.config(
                key: "quantize",
                found: request.quantize,
                expected: "none, nf4, int8 or int4"
            )
        }
        let stored = try StoredQuantisation(checkpoint.config)
        let wish = form.computeWish(request.dtype, bnb: request.bnbComputeType, stored)
        guard let dtype = ModelRegistry.computeType(wish) else {
            throw ModelError.config(
                key: "dtype",
                found: wish,
                expected: "auto, float32, bfloat16 or float16"
            )
        }
        if wish == "float16", dtype != .float16 {
            log.warning("float16 is slow on this CPU: computing in \(dtype.rawValue)")
        }
        if case .quantised(let wish) = form,
            stored.keepsCodes(beside: wish) || checkpoint.isGGUF
        {
            log.notice("what is quantised stays so: \(wish.rawValue) is for the rest")
        }
        return (dtype, form)
    }

    /// Bytes that are free where the model computes.
    private var available: Int {
        Device.isUsed ? Device.memory.free : MachineMemory.availableBytes
    }

    private func eyes(of model: any CausalLanguageModel, _ checkpoint: Checkpoint) throws
        -> VisionWork.Eyes?
    {
        guard let model = model as? any VisionLanguageModel,
            let processor = try VisionProcessor(of: checkpoint.configuration)
        else { return nil }
        guard let rule = RotaryIndex.TimeRule(rawValue: request.videoPositions) else {
            throw ModelError.config(
                key: "video positions",
                found: request.videoPositions,
                expected: "original or hf517"
            )
        }
        return VisionWork.Eyes(
            model: model,
            processor: processor,
            rule: rule,
            cacheBytes: request.visionCacheBytes
        )
    }

    /// The smaller of slots × length and half of what memory is left, unless the front says a number.
    private func limits(for model: any CausalLanguageModel) -> SchedulerLimits {
        let length = max(1, min(model.contextLength, request.maxContext ?? .max))
        // The machine's memory is others' too; a GPU's is the model's but for what its steps need.
        let spared = max(0, available - MemoryPlan.spareBytes)
        let left = Device.isUsed ? spared / 10 * 9 : spared / 2
        let affordable = model.stateBytes > 0 ? left / model.stateBytes : .max
        let wanted = max(1, min(request.maxSlots, affordable))
        if wanted < request.maxSlots {
            log.warning("memory for \(wanted) of \(request.maxSlots) slots only")
        }
        let slots = reservable(model, slots: wanted, length: length)
        let (all, overflow) = slots.multipliedReportingOverflow(by: length)
        var fitting = model.stateBytesPerToken > 0 ? left / model.stateBytesPerToken : .max
        if fitting < min(length, MemoryPlan.leastTokens) {
            fitting = min(length, MemoryPlan.leastTokens)
            log.warning("little memory is left: \(available >> 20) MiB")
        }
        let tokens = request.kvTokens ?? min(overflow ? .max : all, fitting)
        var limits = SchedulerLimits(
            slots: slots,
            contextLength: length,
            kvTokens: tokens,
            stepTokens: request.stepTokens
        )
        limits.sharesPrefixes = model.statesRewind
        return limits
    }

    /// How many slots the system gives address space for: under strict overcommit that may be fewer.
    private func reservable(_ model: any CausalLanguageModel, slots: Int, length: Int) -> Int {
        var states: [any SequenceState] = []
        while states.count < slots,
            let state = try? Torch.checked({ model.makeState(capacity: length) })
        {
            states.append(state)
        }
        if states.count < slots {
            log.warning("address space for \(states.count) of \(slots) slots only")
        }
        return max(1, states.count)
    }

    /// In float32 a row's bits must not depend on its neighbours: says so where they do.
    private func selfTest(_ model: any CausalLanguageModel) throws {
        let ids: [Int32] = (0..<7).map { $0 % Int32(clamping: max(1, model.vocabularySize)) }
        let alone = try Torch.checked {
            let state = model.makeState(capacity: 16)
            return model(
                Step(tokens: ids, runs: [.init(state: state, count: ids.count)], outputRows: [6])
            ).floats
        }
        let together = try Torch.checked { () -> [Float] in
            let (first, second) = (model.makeState(capacity: 16), model.makeState(capacity: 16))
            _ = model(
                Step(
                    tokens: Array(ids[..<4]),
                    runs: [.init(state: first, count: 4)],
                    outputRows: []
                )
            )
            return model(
                Step(
                    tokens: [1, 2] + ids[4...],
                    runs: [.init(state: second, count: 2), .init(state: first, count: 3)],
                    outputRows: [4]
                )
            ).floats
        }
        if alone.map(\.bitPattern) == together.map(\.bitPattern) {
            log.debug("self-test: rows do not depend on batch or chunk")
        } else {
            log.error("self-test: rows depend on the batch; tokens may differ after a crash")
        }
    }

    /// The cause that clients may hear, and the detail for the log.
    static func failure(of error: any Error) -> LoadFailure {
        switch error {
        case let error as CheckpointError:
            let cause: LoadFailureCause =
                switch error.kind {
                case .missing: .notFound
                case .corrupt: .corrupt
                case .unsupported: .unsupported
                }
            return LoadFailure(cause: cause, detail: "\(error)")
        case let error as MemoryPlan.Shortage:
            return LoadFailure(
                cause: .outOfMemory,
                detail: "\(error)",
                shortage: .init(neededBytes: error.needed, availableBytes: error.available)
            )
        case let error as WeightError:
            let cause: LoadFailureCause =
                switch error.reason {
                case .format: .unsupported
                case .decoding(let message) where isMemory(message): .outOfMemory
                case .decoding, .missing, .shape: .corrupt
                }
            return LoadFailure(cause: cause, detail: "\(error)")
        case let error as ModelError:
            if case .device = error { return LoadFailure(cause: .device, detail: "\(error)") }
            return LoadFailure(cause: .unsupported, detail: "\(error)")
        case let error as TorchError:
            return LoadFailure(
                cause: isMemory(error.message) ? .outOfMemory : .other,
                detail: "\(error)"
            )
        default: return LoadFailure(cause: .other, detail: "\(error)")
        }
    }

    /// Whether libtorch says that it got no memory.
    private static func isMemory(_ message: String) -> Bool {
        message.contains("alloc") || message.contains("memory")
    }
}
