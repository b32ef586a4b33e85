// Decoders, copied ahead of need from a template by one thread that lives as long as the process.
//
// 1. At most `most` decoders exist, spares and working ones together.
// 2. A decoder does one job: whatever a medium does to it, no other medium meets it.
// 3. Only the keeper starts processes: they are bound to end with the thread that started them.
// 4. A crash costs the template and the spares: what it may have told about where memory lies is worth nothing.

internal import CLinux
internal import Foundation
internal import Glibc
public import MediaLink
internal import Vision

/// How media are decoded.
public struct DecoderSettings: Sendable {
    /// The executable; nil = `torchgate-media` beside this one.
    public var executable: String?
    /// Processes that wait for work, once there was some.
    public var spares = 2
    /// Processes at once, at work or waiting.
    public var most = 8
    /// Threads of one process, as far as there are processors.
    public var threads = 4
    /// Bytes of memory that a process may have.
    public var addressSpace = 1 << 30
    /// Bytes of pixels that one medium may become.
    public var outputBytes = 256 << 20
    /// Seconds of one decode, by the clock.
    public var seconds = 10.0
    /// Seconds without media after which the spares end.
    public var idleSeconds = 600.0
    /// Bounds that the process checks.
    public var limits = MediaLimits()
    /// Whether EXIF orientation is followed; transformers does not.
    public var orient = false

    /// The defaults that stand beside each field.
    public init() {}
}

/// Decodes media, each in a process of its own.
///
/// Safe from any thread. Starts nothing before `warm` or the first `decode`.
public final class DecoderPool: @unchecked Sendable {
    // Sendable: everything below `lock` is touched with the lock held only.

    private let settings: DecoderSettings
    private let report: @Sendable (String) -> Void
    private let lock = NSCondition()
    private var spares: [DecoderProcess] = []
    /// Dismissed, not waited for yet.
    private var leaving: [DecoderProcess] = []
    private var working = 0
    private var waiting = 0
    private var isKept = false
    /// Touched by the keeper only.
    private var template: DecoderTemplate?
    /// A decoder crashed: the template is to be made anew.
    private var isSpent = false
    private var lastNeed = tg_monotonic_ns()
    /// When the last start failed; no other is tried at once.
    private var failed: UInt64?

    /// A pool that has started nothing yet; `report` gets a line where a process failed.
    public init(_ settings: DecoderSettings, report: @escaping @Sendable (String) -> Void) {
        self.settings = settings
        self.report = report
    }

    /// Starts the spares, if they are not there.
    public func warm() {
        lock.lock()
        lastNeed = tg_monotonic_ns()
        keep()
        lock.broadcast()
        lock.unlock()
    }

    /// Processes that wait for work.
    var spareCount: Int {
        lock.lock()
        defer { lock.unlock() }
        return spares.count
    }

    /// Decodes a medium; blocks.
    func decode(_ bytes: EncodedBytes, _ wish: MediaJob.Wish) throws(MediaError) -> DecodedMedia {
        guard bytes.count > 0 else { throw .invalid("the file is empty") }
        let output = tg_memfd("pixels")
        // It cannot grow beyond its room, whoever gets hold of it.
        guard output >= 0, ftruncate(output, settings.outputBytes) == 0,
            tg_memfd_seal_growth(output) == 0
        else {
            if output >= 0 { close(output) }
            throw .busy
        }
        let pixels = PixelFile(descriptor: output)
        var job = MediaJob(wish, inputBytes: bytes.count, outputBytes: settings.outputBytes)
        job.limits = settings.limits
        job.orient = settings.orient
        var outcome = DecoderProcess.Outcome.gone
        // A spare may have ended while it waited; its successor gets the job.
        for _ in 0...settings.most {
            guard case .gone = outcome else { break }
            let process = try take()
            outcome = process.run(
                job,
                input: bytes.descriptor,
                output: output,
                seconds: settings.seconds
            )
            release(process)
        }
        let result: MediaResult
        switch outcome {
        case .reply(.success(let success)): result = success
        case .reply(.failure(let failure)) where failure.code == .internal:
            report("torchgate-media refused a job: \(failure.message)")
            throw .invalid("the media could not be decoded")
        case .reply(.failure(let failure)): throw .refused(failure)
        case .gone: throw .busy
        case .late: throw .tooLarge("decoding takes longer than \(Int(settings.seconds)) s")
        case .ended(256 + SIGXCPU):
            throw .tooLarge("decoding takes more than \(settings.limits.cpuSeconds) s")
        case .ended(let status):
            renew()
            let end = status >= 256 ? "signal \(status - 256)" : "code \(status)"
            report("torchgate-media ended by \(end) on a medium")
            throw .invalid("the media could not be decoded")
        }
        guard fits(result, wish), pixels.seal(bytes: result.bytes) else {
            report("torchgate-media answered with pixels that do not fit its job")
            throw .invalid("the media could not be decoded")
        }
        return DecodedMedia(result: result, pixels: pixels)
    }

    /// Whether the sizes are those that the rule gives: prompts are counted by them.
    private func fits(_ result: MediaResult, _ wish: MediaJob.Wish) -> Bool {
        guard result.bytes <= settings.outputBytes else { return false }
        switch wish {
        case .image(nil): return result.frames == 1 && result.size == result.source
        case .image(let rule?):
            return result.frames == 1 && (try? rule.target(of: result.source)) == result.size
        case .video(let rule):
            guard let choice = result.choice, choice.indices.count == result.frames,
                result.frames <= settings.limits.chosenFrames
            else { return false }
            return (try? rule.target(of: result.source, frames: result.frames)) == result.size
        }
    }

    // MARK: Processes

    private func take() throws(MediaError) -> DecoderProcess {
        lock.lock()
        defer { lock.unlock() }
        keep()
        lastNeed = tg_monotonic_ns()
        waiting += 1
        defer { waiting -= 1 }
        let end = Date(timeIntervalSinceNow: settings.seconds)
        lock.broadcast()
        while spares.isEmpty {
            guard lock.wait(until: end) else { throw .busy }
        }
        working += 1
        let process = spares.removeLast()
        lock.broadcast()
        return process
    }

    private func release(_ process: DecoderProcess) {
        lock.lock()
        working -= 1
        leaving.append(process)
        lastNeed = tg_monotonic_ns()
        lock.broadcast()
        lock.unlock()
    }

    /// Has the keeper start afresh.
    private func renew() {
        lock.lock()
        isSpent = true
        dismissSpares()
        lock.broadcast()
        lock.unlock()
    }

    /// The lock is held.
    private func dismissSpares() {
        for process in spares { process.dismiss() }
        leaving += spares
        spares = []
    }

    /// Starts the keeper; the lock is held.
    private func keep() {
        guard !isKept else { return }
        isKept = true
        let thread = Thread { [self] in
            _ = tg_set_thread_name("media-keeper")
            while true { tend() }
        }
        thread.stackSize = 1 << 19
        thread.start()
    }

    /// One round of the keeper: starts what is wanted, ends what nobody needs, then waits for a change.
    private func tend() {
        lock.lock()
        let now = tg_monotonic_ns()
        let isIdle = waiting == 0 && Double(now - lastNeed) / 1e9 > settings.idleSeconds
        let wanted = isIdle ? 0 : min(max(settings.spares, waiting), settings.most - working)
        if isSpent || template?.hasEnded == true {
            isSpent = false
            template = nil
        }
        // A spare that was killed while it waited is none; asking takes it off the kernel's list.
        spares.removeAll { spare in
            guard spare.hasEnded else { return false }
            spare.dismiss()
            return true
        }
        let mayStart = failed.map { now - $0 > 1_000_000_000 } ?? true
        if spares.count < wanted, mayStart, leaving.count <= settings.most {
            lock.unlock()
            let process = start()
            lock.lock()
            failed = process == nil ? tg_monotonic_ns() : nil
            if let process { spares.append(process) }
            if isSpent { dismissSpares() }
            lock.broadcast()
            lock.unlock()
            if process == nil { report("torchgate-media cannot be started") }
            return
        }
        if !leaving.isEmpty {
            let left = leaving
            leaving = []
            lock.unlock()
            for process in left { process.reap() }
            return
        }
        if isIdle, !spares.isEmpty || template != nil {
            dismissSpares()
            template = nil
        } else {
            let calm = settings.idleSeconds - Double(now - min(now, lastNeed)) / 1e9
            let pause = failed != nil ? 1 : isIdle ? 30 : max(0.01, min(5, calm + 0.01))
            _ = lock.wait(until: Date(timeIntervalSinceNow: pause))
        }
        lock.unlock()
    }

    /// A decoder by the template, which is made where there is none or it has died; nil where that fails.
    private func start() -> DecoderProcess? {
        if let process = template?.copy() { return process }
        template = DecoderTemplate(
            executable: settings.executable ?? Self.sibling,
            addressSpace: settings.addressSpace,
            threads: settings.threads
        )
        let process = template?.copy()
        if process == nil { template = nil }
        return process
    }

    private static let sibling: String = {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { room in
            room.baseAddress.map { readlink("/proc/self/exe", $0, room.count) } ?? -1
        }
        guard count > 0 else { return "torchgate-media" }
        let own = String(decoding: buffer.prefix(count), as: UTF8.self)
        return (own.lastIndex(of: "/").map { own[...$0] } ?? "") + "torchgate-media"
    }()
}
