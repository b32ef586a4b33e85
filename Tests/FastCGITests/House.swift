import CLinux
import FastCGI
import Foundation
import Synchronization
import TestSupport

/// A listener on a socket of its own, running on a thread of its own.
final class House: Sendable {
    let path: String
    let listener: FastCGIListener
    let ticks = Box(0)
    private let folder: String
    private let running = DispatchSemaphore(value: 0)

    init(
        change: (inout FastCGISettings) -> Void = { _ in },
        handler: @escaping @Sendable (FastCGIExchange) -> Void
    ) throws {
        folder =
            FileManager.default.temporaryDirectory.path + "/fcgi-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        path = folder + "/s"
        var settings = FastCGISettings(sources: [.path(path, mode: 0o660, group: nil)])
        change(&settings)
        listener = try FastCGIListener(settings: settings, handler: handler)
        let thread = Thread { [listener, running, ticks] in
            listener.run(tickSeconds: 0.05) { ticks.change { $0 += 1 } }
            running.signal()
        }
        thread.start()
    }

    /// Stops; true where `run` returned.
    @discardableResult
    func end(drainSeconds: Double = 1) -> (left: Int, returned: Bool) {
        let left = listener.stop(drainSeconds: drainSeconds)
        listener.finish()
        let returned = running.wait(timeout: .now() + 2) == .success
        try? FileManager.default.removeItem(atPath: folder)
        return (left, returned)
    }
}

/// Answers with 200 and a text.
func answer(_ exchange: FastCGIExchange, _ text: String) {
    exchange.response.writeHead(status: 200, headers: [("Content-Type", "text/plain")])
    exchange.response.write(Array(text.utf8))
}

/// A value that threads share.
final class Box<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }
    var value: Value { state.withLock { $0 } }
    func set(_ value: Value) { state.withLock { $0 = value } }
    @discardableResult
    func change(_ body: (inout sending Value) -> Void) -> Value {
        state.withLock { value in
            body(&value)
            return value
        }
    }
}

/// Waits for something; false after `seconds`.
func holds(within seconds: Double, _ condition: () -> Bool) -> Bool {
    let end = tg_monotonic_ns() + UInt64(seconds * 1e9)
    while !condition() {
        if tg_monotonic_ns() > end { return false }
        usleep(1000)
    }
    return true
}

/// What a client reads, on a thread of its own, so that it leaves as soon as it has its answer.
struct Reading: Sendable {
    private let result = Box<FastCGIClient.Reply?>(nil)
    private let done = DispatchSemaphore(value: 0)

    init(_ client: sending FastCGIClient) {
        let parcel = Parcel(client: client)
        Thread { [result, done] in
            result.set(parcel.client.reply())
            done.signal()
        }.start()
    }

    func reply() -> FastCGIClient.Reply? {
        done.wait()
        defer { done.signal() }
        return result.value
    }

    /// Sent to the thread and used there only.
    private struct Parcel: @unchecked Sendable {
        let client: FastCGIClient
    }
}
