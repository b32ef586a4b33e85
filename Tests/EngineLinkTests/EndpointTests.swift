import CLinux
import EngineLink
import Glibc
import Testing

/// The engine's side, spoken to over a plain socket.
@Suite struct EndpointTests {
    /// A front of a few lines.
    private final class Peer {
        let socket: FrameSocket
        init(_ path: String) throws {
            let descriptor = tg_unix_connect(path)
            try #require(descriptor >= 0)
            socket = FrameSocket(descriptor: descriptor)
        }
        deinit { socket.close() }
        func send(_ message: FrontMessage) { socket.send(message.frame) }
        /// Frames until the predicate holds or the connection ends.
        func read(until isLast: (EngineFrame) -> Bool = { _ in false }) -> (
            frames: [EngineFrame], isOpen: Bool
        ) {
            var frames: [EngineFrame] = []
            var isOpen = true
            _ = eventually(3) {
                let reading = try? socket.receive { frame, _ throws(ProtocolError) in
                    frames.append(try EngineFrame(frame))
                }
                isOpen = reading != .ended && reading != nil
                return !isOpen || frames.contains(where: isLast)
            }
            return (frames, isOpen)
        }
    }

    private func endpoint(grace: Int = 60) throws -> (EngineEndpoint, String) {
        let path = Stage.abstractSocket
        return (try EngineEndpoint(listener: .path(path), build: "test", startGrace: grace), path)
    }

    @Test func `media arrive with their pixels and without descriptors that stay`() throws {
        let (endpoint, path) = try endpoint()
        defer { endpoint.finish() }
        let front = try Peer(path)
        front.send(.hello(version: WireProtocol.version, build: "f"))
        front.send(.load(Samples.load))
        #expect(endpoint.drain(blocking: true).count == 1)
        endpoint.send(.loaded(Samples.model))
        let request = try Samples.withMedia()
        FrontMessage.submit(4, request).send(on: front.socket)
        FrontMessage.submit(5, Samples.request).send(on: front.socket)
        var commands: [FrontCommand] = []
        while commands.count < 2 { commands += endpoint.drain(blocking: true) }
        #expect(commands == [.submit(4, request), .submit(5, Samples.request)])
        guard case .submit(_, let arrived) = commands[0] else { return }
        #expect(
            arrived.media.map { $0.pixels.withBytes(Array.init) } == [
                [1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12],
            ]
        )
        #expect(arrived.media.allSatisfy { $0.pixels.descriptor == -1 })
    }

    @Test func `pixels without their submission end the connection`() throws {
        let (endpoint, path) = try endpoint()
        defer { endpoint.finish() }
        let wrong: [(Peer) throws -> Void] = [
            { $0.socket.send(FrontMessage.pixels(1, bytes: 3).frame) },
            { front in
                for id in [1, 2] as [GenerationID] {
                    front.socket.send(
                        FrontMessage.pixels(id, bytes: 3).frame,
                        passing: try Samples.pixels([1, 2, 3])
                    )
                }
            },
            { front in
                front.socket.send(
                    FrontMessage.pixels(1, bytes: 4).frame,
                    passing: try Samples.pixels([1, 2, 3])
                )
            },
            { front in
                front.socket.send(
                    FrontMessage.pixels(1, bytes: 3).frame,
                    passing: try Samples.pixels([1, 2, 3])
                )
                front.send(.submit(2, try Samples.withMedia()))
            },
        ]
        for send in wrong {
            let front = try Peer(path)
            front.send(.hello(version: WireProtocol.version, build: "f"))
            try send(front)
            #expect(!front.read().isOpen)
        }
    }

    @Test func `hello says what is loaded and the next front hears it`() throws {
        let (endpoint, path) = try endpoint()
        defer { endpoint.finish() }
        do {
            let front = try Peer(path)
            front.send(.hello(version: WireProtocol.version, build: "f"))
            front.send(.load(Samples.load))
            #expect(endpoint.drain(blocking: true) == [.load(Samples.load)])
            endpoint.send(.loaded(Samples.model))
            front.send(.submit(4, Samples.request))
            #expect(endpoint.drain(blocking: true) == [.submit(4, Samples.request)])
        }
        // Until the engine knows that its front is gone, tokens must not reach the next one.
        let next = try Peer(path)
        _ = next.read { if case .hello = $0 { true } else { false } }
        endpoint.send(.step(Samples.step))
        #expect(endpoint.drain(blocking: true) == [.frontGone])
        endpoint.send(
            .stats(
                EngineStats(
                    slots: 1,
                    usedSlots: 0,
                    kvTokens: 1,
                    usedTokens: 0,
                    residentBytes: 0,
                    steps: 0
                )
            )
        )
        next.send(.hello(version: WireProtocol.version, build: "f"))
        let frames = next.read { if case .message(.stats) = $0 { true } else { false } }.frames
        #expect(frames.count == 1)
        let third = try Peer(path)
        next.socket.close()
        let hello = third.read { if case .hello = $0 { true } else { false } }.frames.first
        #expect(
            hello
                == .hello(
                    EngineHello(
                        version: WireProtocol.version,
                        build: "test",
                        pid: getpid(),
                        load: Samples.load,
                        model: Samples.model
                    )
                )
        )
    }

    @Test func `whatever breaks the protocol ends the connection and the endpoint stays`() throws {
        let (endpoint, path) = try endpoint()
        defer { endpoint.finish() }
        let greeting = FrontMessage.hello(version: WireProtocol.version, build: "f").frame.bytes
        let offences: [[UInt8]] = [
            Array(repeating: 0xFF, count: 64),
            FrontMessage.ping(1).frame.bytes,
            FrontMessage.hello(version: WireProtocol.version + 1, build: "f").frame.bytes,
            greeting + greeting,
            greeting + FrontMessage.submit(1, Samples.request).frame.bytes,
            greeting + Frame(kind: 99, id: 0, payload: []).bytes,
            greeting + Frame(kind: 2, id: 0, payload: Array("{}".utf8)).bytes,
            greeting + Frame(kind: 3, id: 0, payload: Array("[[[".utf8)).bytes,
        ]
        for offence in offences {
            let front = try Peer(path)
            front.socket.send(bytes: offence)
            #expect(!front.read().isOpen)
        }
        let front = try Peer(path)
        front.socket.send(bytes: greeting)
        front.send(.ping(5))
        endpoint.noteProgress()
        #expect(front.read { if case .pong(nonce: 5, _) = $0 { true } else { false } }.isOpen)
    }

    @Test func `an engine that no front visits is told to end`() throws {
        let (endpoint, _) = try endpoint(grace: 0)
        defer { endpoint.finish() }
        #expect(endpoint.drain(blocking: true) == [.orphaned])
    }

    @Test func `a front that does not read holds nobody up`() throws {
        let (endpoint, path) = try endpoint()
        defer { endpoint.finish() }
        let front = try Peer(path)
        front.send(.hello(version: WireProtocol.version, build: "f"))
        front.send(.load(Samples.load))
        _ = endpoint.drain(blocking: true)
        endpoint.send(.loaded(Samples.model))
        let start = tg_monotonic_ns()
        for _ in 0..<5000 { endpoint.send(.step(Samples.step)) }
        #expect(tg_monotonic_ns() - start < 2_000_000_000)
        // What waited arrives, whole and in order, when it reads again.
        endpoint.send(.progress(done: 1, total: 1))
        let frames = front.read { $0 == .message(.progress(done: 1, total: 1)) }.frames
        #expect(frames.count { $0 == .message(.step(Samples.step)) } == 5000)
    }
}
