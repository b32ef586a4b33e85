import Foundation
import NN
import Testing
import Torch

/// Values in -1…1 that are the same in every run.
func noise(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Float(Int32(truncatingIfNeeded: state >> 32)) / 2_147_483_648
    }
}

/// Serialised: the number of threads is the process's.
@Suite(.serialized) struct AttentionTests {
    let heads = 6
    let keyHeads = 2

    /// Feeds rows `0 ..< 200` in the given pieces; the answers in order.
    func fed(
        _ pieces: [Int],
        size: Int,
        dtype: Tensor.DType = .float32,
        window: Int? = nil
    ) throws -> [Float] {
        let width = (heads + 2 * keyHeads) * size
        let rows = Tensor(noise(200 * width, seed: 1).map { $0 * 3 }, shape: [200, width]).to(dtype)
        let attention = Attention(
            heads: heads,
            keyHeads: keyHeads,
            headSize: size,
            window: window
        )
        let state = KVState(
            .init(layers: 1, keyHeads: keyHeads, headSize: size, dtype: dtype),
            capacity: 200
        )
        var answers: [Float] = []
        var start = 0
        for count in pieces {
            answers += try Torch.checked {
                attention(
                    rows.rows(start..<start + count),
                    layer: 0,
                    runs: [.init(state: state, count: count)]
                ).floats
            }
            state.advance(by: count)
            start += count
        }
        return answers
    }

    /// The formula, in double precision, by head size.
    static let references = Dictionary(
        uniqueKeysWithValues: [4, 24, 64].map { ($0, reference(size: $0, heads: 6, keyHeads: 2)) }
    )

    static func reference(size: Int, heads: Int, keyHeads: Int, window: Int = 200) -> [Float] {
        let width = (heads + 2 * keyHeads) * size
        let rows = noise(200 * width, seed: 1).map { Double($0 * 3) }
        var answers: [Float] = []
        for row in 0..<200 {
            for head in 0..<heads {
                let group = head / (heads / keyHeads)
                let seen = max(0, row - window + 1)...row
                let weights = seen.map { key in
                    let dot = (0..<size).reduce(0.0) {
                        $0 + rows[row * width + head * size + $1]
                            * rows[key * width + (heads + group) * size + $1]
                    }
                    return exp(dot / Double(size).squareRoot())
                }
                let total = weights.reduce(0, +)
                for e in 0..<size {
                    let column = (heads + keyHeads + group) * size + e
                    let sum = zip(seen, weights).reduce(0.0) {
                        $0 + $1.1 * rows[$1.0 * width + column]
                    }
                    answers.append(Float(sum / total))
                }
            }
        }
        return answers
    }

    @Test(arguments: [0, 1, 2, 3], [4, 24, 64])
    func `attention follows its formula on every instruction set`(_ level: Int, size: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        let expected = try #require(Self.references[size])
        let found = try fed([200], size: size)
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 2e-5 })
        let rough = try fed([200], size: size, dtype: .bfloat16)
        #expect(zip(rough, expected).allSatisfy { abs($0 - $1) < 0.08 })
    }

    @Test(arguments: [1, 64, 90])
    func `a window hides the keys before it, in any chunk`(_ window: Int) throws {
        let expected = Self.reference(size: 8, heads: 6, keyHeads: 2, window: window)
        let found = try fed([200], size: 8, window: window)
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 2e-5 })
        let chunked = try fed([63, 1, 1, 64, 7, 64], size: 8, window: window) == found
        let alone = try fed([Int](repeating: 1, count: 200), size: 8, window: window) == found
        #expect(chunked && alone)
    }

    @Test func `a row has the same bits in any chunk, alone, and on any number of threads`() throws
    {
        defer { Torch.start(threads: 2) }
        Torch.start(threads: 1)
        let whole = try fed([200], size: 64)
        for threads in [1, 2, 3] {
            Torch.start(threads: threads)
            let again = try fed([200], size: 64) == whole
            let chunked = try fed([63, 1, 1, 64, 7, 64], size: 64) == whole
            let alone = try fed([Int](repeating: 1, count: 200), size: 64) == whole
            #expect(again && chunked && alone)
        }
    }

    @Test func `runs of one call do not see each other`() throws {
        let size = 16
        let width = (heads + 2 * keyHeads) * size
        let shape = KVState.Shape(layers: 2, keyHeads: keyHeads, headSize: size, dtype: .float32)
        let attention = Attention(heads: heads, keyHeads: keyHeads, headSize: size)
        let rows = Tensor(noise(70 * width, seed: 5), shape: [70, width])
        try Torch.checked {
            let runs = [1, 66, 3].map { Step.Run(state: KVState(shape, capacity: 70), count: $0) }
            let together = attention(rows, layer: 1, runs: runs).floats
            var apart: [Float] = []
            for range in [0..<1, 1..<67, 67..<70] {
                let state = KVState(shape, capacity: 70)
                apart +=
                    attention(
                        rows.rows(range),
                        layer: 1,
                        runs: [.init(state: state, count: range.count)]
                    ).floats
            }
            let same = together == apart
            #expect(same)
        }
    }

    @Test func `a run beyond its slot or of another model is an error`() {
        let shape = KVState.Shape(layers: 1, keyHeads: 2, headSize: 16, dtype: .float32)
        let rows = Tensor.zeros([3, (6 + 4) * 16], .float32)
        let attention = Attention(heads: 6, keyHeads: 2, headSize: 16)
        for state in [
            KVState(shape, capacity: 2),
            KVState(.init(layers: 1, keyHeads: 1, headSize: 16, dtype: .float32), capacity: 9),
            KVState(.init(layers: 1, keyHeads: 2, headSize: 16, dtype: .bfloat16), capacity: 9),
        ] {
            #expect(throws: TorchError.self) {
                try Torch.checked {
                    attention(rows, layer: 0, runs: [.init(state: state, count: 3)])
                }
            }
        }
    }
}
