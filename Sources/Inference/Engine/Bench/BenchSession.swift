internal import CLinux
internal import Checkpoints
internal import EngineLink
internal import Foundation

/// Why a row has no number.
struct BenchError: Error, CustomStringConvertible {
    let description: String
}

/// Generations in an engine, driven as `EngineLoop` drives it: the same plan, run and commit.
struct BenchSession {
    /// A new token of a generation.
    struct Drawn {
        let id: GenerationID
        let token: Int32
    }

    let engine: ServedEngine
    /// Ids above are left to media and to whatever ends a text.
    private let words: Int
    private var nextID: GenerationID = 1
    private var random = SplitMix(state: 11)

    init(_ engine: ServedEngine) {
        self.engine = engine
        words = max(1, engine.description.vocabularySize * 9 / 10)
    }

    /// A text of random tokens, another one each time.
    mutating func text(_ count: Int) -> [Int32] {
        (0..<count).map { _ in Int32(clamping: Int(random.next() % UInt64(words))) }
    }

    /// Random bytes in a sealed file.
    mutating func pixels(_ count: Int) throws -> SharedPixels {
        let file = tg_memfd("torchgate-bench")
        var bytes = [UInt8](repeating: 0, count: count)
        for place in bytes.indices { bytes[place] = UInt8(random.next() >> 56) }
        let written = bytes.withUnsafeBytes { write(file, $0.baseAddress, count) }
        guard file >= 0, written == count, tg_memfd_seal(file) == 0 else {
            if file >= 0 { close(file) }
            throw BenchError(description: "no memory for \(count) bytes of pixels")
        }
        return try SharedPixels(descriptor: file, byteCount: count, keepsDescriptor: false)
    }

    /// Asks for exactly `tokens` greedy tokens.
    mutating func submit(_ prompt: [Int32], tokens: Int, media: [PromptMedia] = []) throws
        -> GenerationID
    {
        let id = nextID
        nextID += 1
        let request = GenerationRequest(
            prompt: prompt,
            sampling: SamplingParameters(temperature: 0),
            stop: StopConditions(maxTokens: tokens, ignoreEOS: true),
            media: media,
            label: "bench-\(id)"
        )
        if let failure = engine.admit(id, request) {
            throw BenchError(description: failure.message)
        }
        return id
    }

    /// One step; the tokens that it drew.
    func step() throws -> [Drawn] {
        var drawn: [Drawn] = []
        for message in engine.step() {
            switch message {
            case .step(let step):
                drawn += step.tokens.map { Drawn(id: $0.id, token: $0.event.token) }
            case .failed(_, let failure): throw BenchError(description: failure.message)
            default: break
            }
        }
        return drawn
    }

    /// Steps until every one of `ids` has a token; their tokens so far.
    func start(_ ids: [GenerationID]) throws -> [GenerationID: [Int32]] {
        var texts: [GenerationID: [Int32]] = [:]
        while !ids.allSatisfy({ texts[$0] != nil }) {
            guard !engine.isIdle else { throw BenchError(description: "a generation got lost") }
            for drawn in try step() { texts[drawn.id, default: []].append(drawn.token) }
        }
        return texts
    }

    /// Drops everything and performs what is left to release.
    func clear() {
        engine.cancelAll()
        while !engine.isIdle { _ = engine.step() }
    }
}

/// SplitMix64: quick, and the same in every run.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
