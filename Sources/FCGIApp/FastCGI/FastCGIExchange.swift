internal import Synchronization

/// One request and the way to answer it, in the hands of one worker.
///
/// Used by the worker only; it ends with the handler.
public final class FastCGIExchange {
    /// What came.
    public private(set) var request: FastCGIRequest
    /// What goes out.
    public let response: ResponseStream
    private let watch: DisconnectWatch
    private let budget: BodyBudget

    init(
        request: FastCGIRequest,
        response: ResponseStream,
        watch: DisconnectWatch,
        budget: BodyBudget
    ) {
        self.budget = budget
        self.request = request
        self.response = response
        self.watch = watch
    }

    /// Lets the body's memory go; for handlers that have read it and go on for long.
    public func dropBody() {
        budget.give(request.body.count)
        request.body = []
    }

    /// Whether the client has left.
    public var isDisconnected: Bool { watch.isGone || response.isClosed }

    /// Sets what runs, on the listener's thread, when the client leaves; at once if it has left.
    ///
    /// It must not block. It is not begun after the handler has returned, but may then still be running.
    public func onDisconnect(_ action: @escaping @Sendable () -> Void) { watch.set(action) }
}

/// Whether the other end of a connection has gone, and who wants to know.
final class DisconnectWatch: Sendable {
    private struct State {
        var isGone = false
        var isOver = false
        var action: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    var isGone: Bool { state.withLock { $0.isGone } }

    func set(_ action: @escaping @Sendable () -> Void) {
        let now = state.withLock { state in
            state.action = action
            return state.isGone && !state.isOver
        }
        if now { action() }
    }

    /// The connection is gone.
    func fire() {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            guard !state.isGone, !state.isOver else { return nil }
            state.isGone = true
            return state.action
        }
        action?()
    }

    /// The handler has returned.
    func end() {
        state.withLock { state in
            state.isOver = true
            state.action = nil
        }
    }
}
