import CLinux
import Engine
import EngineLink
import Foundation
import Logging
import Synchronization

/// The real supervisor with the real engine: on a thread of this process, or in one of its own.
final class EngineStage: Sendable {
    let supervisor: EngineSupervisor
    enum Place: Sendable, CaseIterable { case thread, process }

    private static let names = Atomic(0)

    init(_ place: Place, environment: [String: String] = [:]) throws {
        let number = Self.names.wrappingAdd(1, ordering: .relaxed).newValue
        let socket = "@torchgate-engine-test-\(getpid())-\(number)"
        var settings = SupervisorSettings()
        settings.pingInterval = 0.1
        settings.exitGrace = 5
        // An engine without a model that nobody needs yet would be told to end.
        settings.adoptsOrphans = false
        let launcher: any EngineLauncher
        switch place {
        case .thread:
            let endpoint = try EngineEndpoint(listener: .path(socket), build: "test")
            Thread.detachNewThread { EngineLoop(endpoint: endpoint, log: .silent).run() }
            launcher = SocketLauncher(path: socket)
        case .process:
            launcher = SpawnLauncher(
                socketPath: socket,
                executable: Self.executable,
                environment: environment,
                nice: 0
            )
        }
        supervisor = EngineSupervisor(settings: settings, launcher: launcher)
    }

    /// The binary beside the tests.
    static var executable: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: own).deletingLastPathComponent().appending(path: "torchgate-engine")
            .path
    }

    static func fixture(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/models/\(name)").path
    }

    static func model(_ change: (inout LoadRequest) -> Void = { _ in }) -> LoadRequest {
        var request = LoadRequest(
            path: fixture("llama-tied"),
            modelID: "tiny",
            dtype: "float32",
            maxSlots: 16,
            maxContext: 256,
            stepTokens: 64,
            threads: 2
        )
        change(&request)
        return request
    }

    func submit(_ request: GenerationRequest, model: LoadRequest) throws -> Listener {
        let listener = Listener()
        let id = try supervisor.submit(request, model: model, key: "k") { listener.hear($0) }
        listener.id.store(id, ordering: .relaxed)
        return listener
    }

    func end() { supervisor.stop(drainSeconds: 0, unload: true) }
}

/// Hears one generation.
final class Listener: Sendable {
    let id = Atomic<UInt64>(0)
    private let heard = Mutex<[GenerationEvent]>([])
    private let done = DispatchSemaphore(value: 0)

    func hear(_ event: GenerationEvent) {
        heard.withLock { $0.append(event) }
        switch event {
        case .finished, .failed: done.signal()
        default: break
        }
    }

    var events: [GenerationEvent] { heard.withLock { $0 } }

    /// The tokens of a choice once the generation has ended; nil where it does not within 60 s.
    func tokens(ofChoice choice: Int = 0) -> [TokenEvent]? {
        guard done.wait(timeout: .now() + 60) == .success else { return nil }
        done.signal()
        return events.flatMap { event -> [TokenEvent] in
            if case .tokens(let tokens) = event {
                tokens.filter { $0.choice == choice }
            } else {
                []
            }
        }
    }

    var failure: GenerationFailure? {
        guard tokens() != nil, case .failed(let failure)? = events.last else { return nil }
        return failure
    }
}

extension Logger {
    static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}
