internal import CLinux
internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import Logging
internal import NVML

/// Watches the memory of the engines from outside: what they hold, what each unload freed, and when
/// caches have to be given back.
///
/// One thread of its own, since a driver may be slow; it looks once a second.
final class MemoryWatch: @unchecked Sendable {
    // Sendable: everything that changes is touched with the lock held only.

    /// What an unload freed.
    struct Release: Sendable {
        /// The engine's end.
        var end: EngineEnd
        /// Bytes that the device has free again; nil where nobody tells.
        var freed: Int?
        /// Bytes that can be had on the device now; nil where nobody tells.
        var left: Int?
    }

    /// Seconds after an end in which a GPU's memory may still come back.
    private static let settling = 2.0

    private let nvml: NVML
    private let standardDevice: String
    private let metrics: Metrics
    private let log: Logger
    private let lock = NSCondition()
    private var policy: TrimPolicy
    private var ends: [EngineEnd] = []
    private var announced = 0
    /// The last ones, oldest first; of `measured` in all.
    private var releases: [Release] = []
    private var measured = 0
    /// Where models ran last, for the time when none does.
    private var lastDevice: String?
    private var lastAddresses: Set<BusAddress> = []
    /// The GPUs while the engines were last seen at work.
    private var gpusBefore: [GPU] = []

    /// Watches nothing before `start`.
    ///
    /// `threshold`: as `TrimPolicy`'s. `standardDevice`: of models that no engine has loaded yet.
    init(
        threshold: Double,
        standardDevice: String,
        nvml: NVML,
        metrics: Metrics,
        log: Logger
    ) {
        policy = TrimPolicy(threshold: threshold)
        self.standardDevice = standardDevice
        self.nvml = nvml
        self.metrics = metrics
        var log = log
        log[metadataKey: "part"] = "memory"
        self.log = log
    }

    /// Begins to watch these engines.
    func start(_ engines: EngineFleet) {
        let thread = Thread { [self] in
            _ = tg_set_thread_name("memory")
            while true { look(engines) }
        }
        thread.stackSize = 1 << 20
        thread.start()
    }

    // MARK: What others ask

    /// The memory now; waits for the driver at most as long as `NVML.read`.
    func memory(of engines: EngineFleet, age: Double = 1) -> DeviceMemory {
        let statuses = engines.summaries().filter { $0.model != nil }
        let onGPU = statuses.filter { $0.model?.isOnGPU ?? false }
        remember(statuses)
        let (device, addresses) = lock.withLock { (lastDevice, lastAddresses) }
        if !statuses.isEmpty ? onGPU.isEmpty : (device ?? standardDevice) == "cpu" {
            return onCPU(statuses)
        }
        let gpus = nvml.read(age: age).all.at(addresses)
        // Nothing tells of a GPU and nothing has run on one.
        if gpus.isEmpty, onGPU.isEmpty, device == nil { return onCPU(statuses) }
        return DeviceMemory(
            device: device ?? "cuda",
            allocated: onGPU.reduce(0) { $0 + $1.allocatedBytes },
            reserved: onGPU.reduce(0) { $0 + $1.reservedBytes },
            total: gpus.isEmpty ? nil : gpus.totalBytes,
            free: gpus.isEmpty ? nil : gpus.freeBytes
        )
    }

    private func onCPU(_ statuses: [EngineStatus]) -> DeviceMemory {
        let resident = statuses.reduce(0) { $0 + ($1.residentBytes ?? 0) }
        return DeviceMemory(
            device: "cpu",
            allocated: resident,
            reserved: resident,
            total: MachineMemory.totalBytes,
            free: MachineMemory.availableBytes
        )
    }

    private func remember(_ statuses: [EngineStatus]) {
        guard !statuses.isEmpty else { return }
        let onGPU = statuses.compactMap(\.model).filter(\.isOnGPU)
        lock.withLock {
            lastDevice =
                onGPU.isEmpty ? "cpu" : Set(onGPU.map(\.device)).sorted().joined(separator: ",")
            lastAddresses = Set(onGPU.compactMap { BusAddress($0.busID) })
        }
    }

    /// Hears of an engine's end; never waits.
    func hear(_ end: EngineEnd) {
        lock.withLock {
            ends.append(end)
            announced += 1
            lock.broadcast()
        }
    }

    /// What the device had free after the last unload; nil before the first, and where nobody told.
    var lastLeft: Int? { lock.withLock { releases.last?.left } }

    /// How many ends there have been.
    var endCount: Int { lock.withLock { announced } }

    /// What was freed by the ends after the first `count`, once that is known, or so far known after `seconds`.
    func releases(after count: Int, seconds: Double) -> [Release] {
        let limit = Date(timeIntervalSinceNow: seconds)
        lock.lock()
        defer { lock.unlock() }
        let wanted = announced
        while measured < wanted { guard lock.wait(until: limit) else { break } }
        return Array(releases.suffix(max(0, measured - count)))
    }

    /// Looks at the GPUs now, so that an unload which follows is measured against that.
    func note(_ engines: EngineFleet) { see(memory(of: engines, age: 0.05)) }

    // MARK: The thread

    private func look(_ engines: EngineFleet) {
        lock.lock()
        let limit = Date(timeIntervalSinceNow: 1)
        while ends.isEmpty, lock.wait(until: limit) {}
        let ended = ends
        ends = []
        lock.unlock()
        for end in ended { measure(end) }
        // What runs now has changed less than a second ago: the next round looks.
        guard ended.isEmpty else { return }
        let memory = memory(of: engines)
        see(memory)
        guard engines.summaries().contains(where: { $0.state == .serving }),
            lock.withLock({ policy.isDue(memory, now: monotonicSeconds()) })
        else { return }
        trim(engines, memory)
    }

    private func see(_ memory: DeviceMemory) {
        guard memory.isOnGPU else { return }
        let gpus = nvml.read(age: 1).all
        lock.withLock { gpusBefore = gpus }
    }

    private func trim(_ engines: EngineFleet, _ before: DeviceMemory) {
        guard engines.trim(timeout: 10) > 0 else { return }
        let after = memory(of: engines, age: 0)
        metrics.count("torchgate_memory_trims_total")
        let percent = Int(((before.usage ?? 0) * 100).rounded())
        log.notice(
            "memory is \(percent) % full: caches given back",
            metadata: [
                "device": "\(after.device)",
                "freed_bytes": "\(max(0, before.reserved - after.reserved))",
                "left_bytes": "\(after.free.map(String.init) ?? "-")",
            ]
        )
    }

    private func measure(_ end: EngineEnd) {
        let release = end.model.isOnGPU ? onGPU(end) : onCPU(end)
        let cause = end.cause.rawValue
        var words = "unloaded \(end.model.modelID)"
        words += release.freed.map { ": \(DeviceMemory.words($0)) freed" } ?? ""
        words += release.left.map { ", \(DeviceMemory.words($0)) available" } ?? ""
        log.notice(
            "\(words)",
            metadata: [
                "model": "\(end.model.modelID)", "cause": "\(cause)",
                "device": "\(end.model.device)",
                "freed_bytes": "\(release.freed.map(String.init) ?? "-")",
                "left_bytes": "\(release.left.map(String.init) ?? "-")",
            ]
        )
        metrics.count("torchgate_unloads_total{cause=\"\(cause)\"}")
        metrics.count(
            "torchgate_unload_freed_bytes_total{cause=\"\(cause)\"}",
            Double(release.freed ?? 0)
        )
        lock.withLock {
            releases = Array((releases + [release]).suffix(64))
            measured += 1
            lock.broadcast()
        }
    }

    /// The process is gone: what it held is what the machine has again.
    private func onCPU(_ end: EngineEnd) -> Release {
        Release(end: end, freed: end.residentBytes, left: MachineMemory.availableBytes)
    }

    /// What the driver says now against what it said while the engine was there.
    ///
    /// A driver may take a moment to give back what a process held, so that less than the engine had
    /// reserved is not believed at once.
    private func onGPU(_ end: EngineEnd) -> Release {
        let addresses = Set([BusAddress(end.model.busID)].compactMap { $0 })
        let before = lock.withLock { gpusBefore.at(addresses) }
        let limit = monotonicSeconds() + Self.settling
        var release = Release(end: end)
        while true {
            let all = nvml.read(age: 0).all
            let after = all.at(addresses)
            guard !after.isEmpty else { return release }
            // The next end is measured from here: what two engines free together counts once.
            lock.withLock { gpusBefore = all }
            release.left = after.freeBytes
            guard !before.isEmpty else { return release }
            let freed = max(0, after.freeBytes - before.freeBytes)
            release.freed = max(freed, release.freed ?? 0)
            guard freed < end.reservedBytes / 10 * 9, monotonicSeconds() < limit else {
                return release
            }
            usleep(50_000)
        }
    }
}
