import CLinux
import EngineLink
import Glibc
import Synchronization
import Testing

/// Every message that there is, with values at their edges.
enum Samples {
    static let load = LoadRequest(
        path: "/models/ä \"x\"",
        modelID: "org/name",
        device: "cuda:1",
        dtype: "bfloat16",
        quantize: "nf4",
        bnbComputeType: "float16",
        maxSlots: 64,
        maxContext: 8192,
        kvTokens: 1 << 33,
        stepTokens: 1,
        threads: 3,
        orphanGrace: 9
    )
    static let model = LoadedModel(
        modelID: "org/name",
        revision: "abc",
        vocabularySize: 49_152,
        contextLength: 8192,
        slots: 64,
        kvTokens: 1 << 33,
        dtype: "float32",
        weights: "q4_1",
        device: "cpu",
        residentBytes: 1 << 40,
        loadSeconds: 0.1,
        busID: "0000:01:00.0"
    )
    static let request = GenerationRequest(
        prompt: [0, 1, .max],
        choices: [ChoiceStart(index: 0), ChoiceStart(index: 7, generated: [3])],
        sampling: SamplingParameters(
            temperature: 0.1,
            topK: 50,
            topP: 0.95,
            minP: 0.05,
            presencePenalty: -2,
            frequencyPenalty: 0.3,
            repetitionPenalty: 1.1,
            logitBias: [5: -100, 9: 0.1],
            seed: .max
        ),
        stop: StopConditions(maxTokens: 12, minTokens: 2, stopTokens: [2, 0], ignoreEOS: true),
        logprobs: 20
    )
    /// A memory file as a front makes it.
    static func file(_ bytes: [UInt8], isSealed: Bool = true) throws -> Int32 {
        let file = tg_memfd("test")
        try #require(file >= 0 && write(file, bytes, bytes.count) == bytes.count)
        if isSealed { try #require(tg_memfd_seal(file) == 0) }
        return file
    }

    static func pixels(_ bytes: [UInt8]) throws -> SharedPixels {
        try SharedPixels(descriptor: try file(bytes), byteCount: bytes.count)
    }

    /// An image of 2 × 1 pixels and a clip of 2 frames of 1 × 1 in one prompt.
    static func withMedia() throws -> GenerationRequest {
        GenerationRequest(
            prompt: Array(0..<20),
            stop: StopConditions(maxTokens: 4),
            media: [
                PromptMedia(
                    kind: .image,
                    frames: 1,
                    width: 2,
                    height: 1,
                    spans: [1..<5],
                    identity: [UInt8](0..<32),
                    pixels: try pixels([1, 2, 3, 4, 5, 6])
                ),
                PromptMedia(
                    kind: .video,
                    frames: 2,
                    width: 1,
                    height: 1,
                    spans: [7..<9, 10..<12],
                    secondsPerGrid: 0.1,
                    identity: [UInt8](repeating: 9, count: 32),
                    pixels: try pixels([7, 8, 9, 10, 11, 12])
                ),
            ]
        )
    }

    static let step = EngineStep(
        number: .max,
        monotonicNs: 1,
        tokens: [
            GenerationToken(
                id: .max,
                event: TokenEvent(
                    choice: 65_535,
                    token: .max,
                    logprob: -0.25,
                    top: (0..<20).map { TokenLogprob(token: $0, logprob: -Float.infinity) },
                    finish: .length
                )
            ),
            GenerationToken(id: 0, event: TokenEvent(choice: 0, token: 0, finish: .stop)),
            GenerationToken(id: 3, event: TokenEvent(choice: 1, token: 7, logprob: 0)),
        ]
    )
    static let front: [FrontMessage] = [
        .hello(version: WireProtocol.version, build: "b"), .load(load), .submit(.max, request),
        .cancel(9, choice: nil), .cancel(9, choice: 3), .unload, .stats, .trim, .ping(.max),
    ]
    static let engine: [EngineFrame] = [
        .hello(
            EngineHello(version: WireProtocol.version, build: "b", pid: 7, load: load, model: model)
        ),
        .hello(
            EngineHello(version: WireProtocol.version, build: "b", pid: 7, load: nil, model: nil)
        ),
        .pong(nonce: 1, progress: .max), .message(.progress(done: 1, total: 2)),
        .message(.loaded(model)), .message(.step(step)),
        .message(.loadFailed(LoadFailure(cause: .device, detail: "x"))),
        .message(
            .loadFailed(
                LoadFailure(
                    cause: .outOfMemory,
                    detail: "x",
                    shortage: .init(neededBytes: 1 << 40, availableBytes: 3)
                )
            )
        ),
        .message(.failed(3, .engineFailed)),
        .message(
            .stats(
                EngineStats(
                    slots: 1,
                    usedSlots: 0,
                    kvTokens: 3,
                    usedTokens: 2,
                    residentBytes: 5,
                    steps: 9,
                    preempted: 1,
                    allocatedBytes: 6,
                    reservedBytes: 7
                )
            )
        ),
    ]
}

@Suite struct FrameTests {
    private func decode(_ bytes: [UInt8]) throws(ProtocolError) -> [Frame] {
        var decoder = FrameDecoder()
        bytes.withUnsafeBytes { decoder.append($0) }
        var frames: [Frame] = []
        while let frame = try decoder.next() { frames.append(frame) }
        return frames
    }

    @Test func `every message survives the wire`() throws {
        for message in Samples.front {
            let frames = try decode(message.frame.bytes)
            #expect(try frames.map { try FrontMessage($0) } == [message])
        }
        for message in Samples.engine {
            let frames = try decode(message.frame.bytes)
            #expect(try frames.map { try EngineFrame($0) } == [message])
        }
    }

    @Test func `a model that does not fit says by how much`() {
        var failure = LoadFailure(cause: .outOfMemory, detail: "/secret/path")
        #expect(failure.sentence == "There is not enough memory to load the model.")
        failure.shortage = .init(neededBytes: 11 << 30, availableBytes: 1 << 29)
        #expect(
            failure.sentence
                == "There is not enough memory to load the model: it needs 11.0 GiB, 0.5 GiB are available."
        )
    }

    @Test func `frames may arrive in pieces of any size`() throws {
        let bytes = Samples.front.flatMap { $0.frame.bytes }
        for size in [1, 2, 3, 7, 64, 1000] {
            var decoder = FrameDecoder()
            var messages: [FrontMessage] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { decoder.append($0) }
                while let frame = try decoder.next() { messages.append(try FrontMessage(frame)) }
            }
            #expect(messages == Samples.front)
        }
    }

    @Test func `a length outside the bounds ends the stream`() {
        for length: UInt32 in [0, 8, (16 << 20) + 1, .max] {
            let bytes = (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * UInt32($0))) }
            #expect(throws: ProtocolError.self) { try decode(bytes) }
        }
    }

    @Test func `a hundred thousand damaged frames are read or refused, and nothing dies`() {
        var random = Xorshift(seed: 1)
        let frames = Samples.front.map(\.frame.bytes) + Samples.engine.map(\.frame.bytes)
        var accepted = 0
        var refused = 0
        for _ in 0..<100_000 {
            var bytes = frames[random.below(frames.count)]
            for _ in 0...random.below(4) {
                switch random.below(4) {
                case 0: bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes[random.below(bytes.count)] ^= 1 << random.below(8)
                case 2: bytes.removeLast(min(random.below(8), bytes.count - 1))
                default:
                    bytes.insert(
                        UInt8(truncatingIfNeeded: random.next()),
                        at: random.below(bytes.count)
                    )
                }
            }
            do throws(ProtocolError) {
                for frame in try decode(bytes) {
                    if let message = try? FrontMessage(frame) { _ = message.frame }
                    _ = try EngineFrame(frame)
                    accepted += 1
                }
            } catch { refused += 1 }
        }
        #expect(accepted > 1000 && refused > 1000)
    }

    @Test func `numbers out of range are refused by the reader too`() {
        var wrong: [GenerationRequest] = []
        func with(_ change: (inout GenerationRequest) -> Void) {
            var request = Samples.request
            change(&request)
            wrong.append(request)
        }
        with { $0.prompt = [] }
        with { $0.choices = [] }
        with { $0.choices = [ChoiceStart(index: 1), ChoiceStart(index: 1)] }
        with { $0.choices = [ChoiceStart(index: 0, generated: Array(repeating: 1, count: 12))] }
        with { $0.sampling.temperature = .nan }
        with { $0.sampling.temperature = -.infinity }
        with { $0.sampling.topK = -1 }
        with { $0.sampling.topP = 0 }
        with { $0.sampling.repetitionPenalty = 0 }
        with { $0.sampling.logitBias = [-4: 1] }
        with { $0.stop.maxTokens = 0 }
        with { $0.stop.minTokens = 13 }
        with { $0.logprobs = 21 }
        for request in wrong {
            #expect(throws: ProtocolError.self) { try request.checkRanges() }
            #expect(throws: ProtocolError.self) {
                try FrontMessage(FrontMessage.submit(1, request).frame)
            }
        }
    }

    @Test func `media outside the bounds are refused on both sides`() throws {
        let request = try Samples.withMedia()
        try request.checkRanges()
        func refused(_ change: (inout PromptMedia) -> Void) throws {
            var wrong = request
            change(&wrong.media[1])
            #expect(throws: ProtocolError.self) { try wrong.checkRanges() }
            let frame = FrontMessage.submit(1, wrong).frame
            #expect(throws: ProtocolError.self) {
                try FrontMessage(frame, pixels: wrong.media.map(\.pixels))
            }
        }
        try refused { $0.frames = 3 }
        try refused { $0.width = 0 }
        try refused { $0.height = -1 }
        try refused { $0.kind = .image }
        try refused { $0.spans = [] }
        try refused { $0.spans = [7..<9, 8..<12] }
        try refused { $0.spans = [4..<9] }
        try refused { $0.spans = [10..<21] }
        try refused { $0.spans = [7..<8, 9..<10, 11..<12] }
        try refused { $0.identity = [1] }
        try refused { $0.secondsPerGrid = -1 }
        let frame = FrontMessage.submit(1, request).frame
        #expect(throws: ProtocolError.self) { try FrontMessage(frame) }
    }

    @Test func `pixels that could change are refused`() throws {
        let open = try Samples.file([1, 2, 3], isSealed: false)
        #expect(throws: ProtocolError.self) { try SharedPixels(descriptor: open, byteCount: 3) }
        let short = try Samples.file([1, 2, 3])
        #expect(throws: ProtocolError.self) { try SharedPixels(descriptor: short, byteCount: 4) }
        #expect(fcntl(open, F_GETFD) == -1 && fcntl(short, F_GETFD) == -1)
    }

    @Test func `a descriptor arrives with the frame that it was sent with`() throws {
        var ends: [Int32] = [0, 0]
        #expect(tg_socketpair(&ends) == 0)
        let (sender, receiver) = (
            FrameSocket(descriptor: ends[0]), FrameSocket(descriptor: ends[1])
        )
        defer {
            sender.close()
            receiver.close()
        }
        let file = try Samples.pixels(Array("hello".utf8))
        sender.send(FrontMessage.ping(1).frame)
        sender.send(FrontMessage.ping(2).frame, passing: file)
        sender.send(FrontMessage.ping(3).frame)
        var seen: [(FrontMessage, String?)] = []
        while seen.count < 3 {
            _ = try receiver.receive { frame, passed throws(ProtocolError) in
                var text: String?
                if let passed {
                    var bytes = [UInt8](repeating: 0, count: 5)
                    _ = pread(passed, &bytes, 5, 0)
                    close(passed)
                    text = String(decoding: bytes, as: UTF8.self)
                }
                seen.append((try FrontMessage(frame), text))
            }
        }
        #expect(seen.map(\.0) == [.ping(1), .ping(2), .ping(3)])
        #expect(seen.map(\.1) == [nil, "hello", nil])
    }
}

struct Xorshift {
    var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
}
