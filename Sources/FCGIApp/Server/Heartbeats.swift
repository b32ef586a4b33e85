internal import Foundation
internal import OpenAI
internal import Settings
internal import Synchronization

extension Call {
    /// Does blocking work on a thread of its own; this one meanwhile opens the stream and sends heartbeats.
    ///
    /// An error after that is the stream's last event.
    func streaming<Output: Sendable>(
        _ settings: SessionSettings,
        while work: @escaping @Sendable () throws(APIError) -> Output
    ) throws(APIError) -> Output {
        let outcome = Outcome<Output>()
        let done = DispatchSemaphore(value: 0)
        let thread = Thread {
            do throws(APIError) { outcome.set(.success(try work())) } catch {
                outcome.set(.failure(error))
            }
            done.signal()
        }
        thread.stackSize = 1 << 20
        thread.start()
        var silence = settings.headerDelay
        while done.wait(timeout: .now() + silence) == .timedOut {
            stream(isStreaming ? ServerSentEvents.heartbeat : [])
            silence = settings.heartbeat
        }
        guard let result = outcome.value else { throw .internalError }
        return try result.get()
    }
}

private final class Outcome<Output: Sendable>: Sendable {
    private let state = Mutex<Result<Output, APIError>?>(nil)

    var value: Result<Output, APIError>? { state.withLock { $0 } }

    func set(_ result: Result<Output, APIError>) { state.withLock { $0 = result } }
}
