import CLinux
import FastCGI
import Foundation
import Synchronization
import Testing

/// A listener on a socket of its own, on a thread of its own.
final class ListenerStage: Sendable {
    let path: String
    let listener: FastCGIListener
    let ticks = Shared(0)
    private let folder: String
    private let isOver = DispatchSemaphore(value: 0)

    init(
        _ change: (inout FastCGISettings) -> Void = { _ in },
        inherits: Bool = false,
        handler: @escaping @Sendable (FastCGIExchange) -> Void
    ) throws {
        _ = tg_raise_file_limit()
        folder = NSTemporaryDirectory() + "fcgi-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        path = folder + "/s"
        var source = FastCGISettings.Source.path(path, mode: 0o600, group: nil)
        if inherits { source = .inherited(tg_unix_listen(path, 64, 0o600)) }
        var settings = FastCGISettings(sources: [source])
        settings.stackBytes = 256 << 10
        change(&settings)
        listener = try FastCGIListener(settings: settings, handler: handler)
        let thread = Thread { [listener, isOver, ticks] in
            listener.run(tickSeconds: 0.05) { ticks.change { $0 += 1 } }
            isOver.signal()
        }
        thread.start()
    }

    deinit {
        listener.finish()
        isOver.wait()
        try? FileManager.default.removeItem(atPath: folder)
    }

    func client() throws -> FastCGIClient { try FastCGIClient(path: path) }

    /// One request on a connection of its own.
    func ask(
        _ parameters: [(String, String)] = [],
        body: [UInt8] = [],
        announced: Int? = nil
    ) throws -> FastCGIClient.Answer {
        let client = try client()
        client.send(FastCGIClient.request(parameters, body: body, announced: announced))
        return client.answer()
    }
}

/// A value that threads share and a test waits for.
final class Shared<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }

    var value: Value { state.withLock { $0 } }
    func change(_ body: (inout Value) -> Void) { state.withLock { value in body(&value) } }

    /// Whether the condition came true within the time.
    func wait(seconds: Double = 5, for condition: (Value) -> Bool) -> Bool {
        let end = tg_monotonic_ns() + UInt64(seconds * 1e9)
        while !condition(value) {
            guard tg_monotonic_ns() < end else { return false }
            usleep(1000)
        }
        return true
    }
}
