import CLinux
import EngineLink
import Glibc
import Synchronization
import TestSupport
import Testing

/// A supervisor with scripted engines as real processes, in a folder of its own.
final class Stage: Sendable {
    let supervisor: EngineSupervisor
    let socketPath: String

    /// `arguments` are the script, as flags of `scripted-engine`; no `socketPath` means a new folder.
    init(
        _ arguments: [String] = [],
        socketPath: String? = nil,
        settings: (inout SupervisorSettings) -> Void = { _ in }
    ) {
        var values = SupervisorSettings()
        values.pingInterval = 0.05
        values.exitGrace = 2
        settings(&values)
        self.socketPath = socketPath ?? Self.newSocketPath()
        let launcher = SpawnLauncher(
            socketPath: self.socketPath,
            executable: Self.executable,
            arguments: ["serve", "--socket", self.socketPath] + arguments,
            nice: 0
        )
        let lines = LogLines()
        log = lines
        supervisor = EngineSupervisor(settings: values, launcher: launcher) { lines.add($0) }
    }

    let log: LogLines

    final class LogLines: Sendable {
        let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var text: String { lines.withLock { $0.joined(separator: "\n") } }
    }

    static func newSocketPath() -> String {
        var template = Array("/tmp/torchgate-link-XXXXXX".utf8CString)
        _ = mkdtemp(&template)
        let folder = template.dropLast().map { UInt8(bitPattern: $0) }
        return String(decoding: folder, as: UTF8.self) + "/engine"
    }

    private static let names = Atomic(0)

    /// A socket without a file.
    static var abstractSocket: String {
        "@torchgate-test-\(getpid())-\(names.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    static var executable: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = max(0, readlink("/proc/self/exe", &buffer, buffer.count - 1))
        let own = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return own[..<(own.lastIndex(of: "/") ?? own.startIndex)] + "/scripted-engine"
    }

    static let model = LoadRequest(path: "/models/a", modelID: "a")
    static let otherModel = LoadRequest(path: "/models/b", modelID: "b")

    /// Submits a prompt; its events go to the returned audience.
    func submit(
        _ prompt: [Int32],
        tokens: Int = 8,
        model: LoadRequest = Stage.model,
        key: String = "k",
        keepAlive: Int? = nil,
        choices: Int = 1,
        logprobs: Int? = nil
    ) throws -> Audience {
        let audience = Audience()
        let request = GenerationRequest(
            prompt: prompt,
            choices: (0..<choices).map { ChoiceStart(index: $0) },
            sampling: SamplingParameters(seed: 7),
            stop: StopConditions(maxTokens: tokens),
            logprobs: logprobs
        )
        let id = try supervisor.submit(request, model: model, key: key, keepAlive: keepAlive) {
            audience.hear($0)
        }
        audience.id.store(id, ordering: .relaxed)
        return audience
    }

    /// Waits until the status is as wished.
    func wait(_ seconds: Double = 5, until isTrue: (EngineStatus) -> Bool) -> Bool {
        eventually(seconds) { isTrue(self.supervisor.status()) }
    }

    func end() {
        supervisor.stop(drainSeconds: 0, unload: true)
        let folder = socketPath.dropLast("/engine".count)
        unlink(socketPath)
        rmdir(String(folder))
    }
}

func eventually(_ seconds: Double = 5, _ isTrue: () -> Bool) -> Bool {
    let end = tg_monotonic_ns() + UInt64(seconds * 1e9)
    while tg_monotonic_ns() < end {
        if isTrue() { return true }
        usleep(2000)
    }
    return isTrue()
}

/// What a script would say without any disturbance.
func expected(_ prompt: [Int32], _ count: Int, choice: Int = 0) -> [Int32] {
    EngineScript().tokens(prompt: prompt, seed: 7, choice: choice, count: count)
}

/// Hears the events of one generation.
final class Audience: Sendable {
    let id = Atomic<UInt64>(0)
    private let heard = Mutex<[GenerationEvent]>([])

    /// What `cancel` takes.
    var name: GenerationID { id.load(ordering: .relaxed) }

    func hear(_ event: GenerationEvent) { heard.withLock { $0.append(event) } }

    var events: [GenerationEvent] { heard.withLock { $0 } }

    var tokenEvents: [TokenEvent] {
        events.flatMap { event -> [TokenEvent] in
            if case .tokens(let tokens) = event { tokens } else { [] }
        }
    }

    func tokens(ofChoice choice: Int = 0) -> [Int32] {
        tokenEvents.filter { $0.choice == choice }.map(\.token)
    }

    var failure: GenerationFailure? {
        if case .failed(let failure) = events.last { failure } else { nil }
    }

    var hasStarted: Bool {
        events.contains { if case .started = $0 { true } else { false } }
    }

    var hasEnded: Bool {
        switch events.last {
        case .finished, .failed: true
        default: false
        }
    }

    /// Waits for the end; false when it does not come.
    func ended(_ seconds: Double = 10) -> Bool { eventually(seconds) { hasEnded } }

    /// Waits for so many tokens.
    func has(_ count: Int, _ seconds: Double = 5) -> Bool {
        eventually(seconds) { tokenEvents.count >= count }
    }

    var endings: Int {
        events.count {
            switch $0 {
            case .finished, .failed: true
            default: false
            }
        }
    }
}
