import Foundation
import NN
import Testing
import Torch

/// Serialised: the number of threads is the process's.
@Suite(.serialized) struct SegmentMemoryTests {
    private let lengths = [1, 70, 64, 3]

    /// Answers to the rows of `x`, `[rows, 3 · heads · size]`, kept and asked in pieces of `piece` rows.
    private func answers(
        _ x: [Float],
        heads: Int,
        size: Int,
        lengths: [Int],
        piece: Int = 1000,
        dtype: Tensor.DType = .float32
    ) throws -> [Float] {
        let (inner, segments) = (heads * size, Segments(lengths))
        func part(_ rows: Range<Int>, _ columns: Range<Int>) -> Tensor {
            let values = rows.flatMap {
                x[$0 * 3 * inner + columns.lowerBound..<$0 * 3 * inner + columns.upperBound]
            }
            return Tensor(values, shape: [rows.count, columns.count]).to(dtype)
        }
        return try Torch.checked {
            let memory = SegmentMemory([segments], heads: heads, size: size, dtype: dtype)
            let pieces = stride(from: 0, to: segments.rows, by: piece).map {
                $0..<min(segments.rows, $0 + piece)
            }
            for rows in pieces {
                memory.keep(part(rows, inner..<3 * inner), at: rows.lowerBound, in: segments)
            }
            return pieces.flatMap { rows in
                memory.attend(part(rows, 0..<inner), at: rows.lowerBound, in: segments).floats
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3])
    func `each row attends to its whole segment and to nothing else`(_ level: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        for (heads, size) in [(1, 4), (2, 20), (1, 64)] {
            let (count, width) = (lengths.reduce(0, +), 3 * heads * size)
            let x = noise(count * width, seed: 5).map { $0 * 4 }
            let found = try answers(x, heads: heads, size: size, lengths: lengths)
            var start = 0
            var worst: Float = 0
            for length in lengths {
                for row in stride(from: start, to: start + length, by: 7) {
                    for head in 0..<heads {
                        var mixed = [Double](repeating: 0, count: size)
                        var sum = 0.0
                        for other in start..<start + length {
                            var product = 0.0
                            for e in 0..<size {
                                let query = x[row * width + head * size + e]
                                let key = x[other * width + (heads + head) * size + e]
                                product += Double(query) * Double(key)
                            }
                            let weight = exp(product / Double(size).squareRoot() - 60)
                            sum += weight
                            for e in 0..<size {
                                let value = x[other * width + (2 * heads + head) * size + e]
                                mixed[e] += weight * Double(value)
                            }
                        }
                        for e in 0..<size {
                            let at = (row * heads + head) * size + e
                            worst = max(worst, abs(found[at] - Float(mixed[e] / sum)))
                        }
                    }
                }
                start += length
            }
            #expect(worst < 2e-5)
        }
    }

    @Test func `an answer has the same bits in any pieces, beside any segments, with any threads`()
        throws
    {
        defer { Torch.start(threads: 2) }
        let x = noise(138 * 72, seed: 6).map { $0 * 3 }
        Torch.start(threads: 1)
        let whole = try answers(x, heads: 2, size: 12, lengths: lengths)
        for threads in [1, 2] {
            Torch.start(threads: threads)
            for piece in [1, 5, 64, 100] {
                let cut = try answers(x, heads: 2, size: 12, lengths: lengths, piece: piece)
                #expect(cut == whole)
            }
            let alone = try answers(Array(x[72..<71 * 72]), heads: 2, size: 12, lengths: [70])
            #expect(alone == Array(whole[24..<71 * 24]))
        }
    }

    @Test func `bfloat16 answers stay near float32`() throws {
        let x = noise(138 * 48, seed: 7)
        let exact = try answers(x, heads: 1, size: 16, lengths: lengths)
        let found = try answers(x, heads: 1, size: 16, lengths: lengths, dtype: .bfloat16)
        #expect((zip(exact, found).map { abs($0 - $1) }.max() ?? 1) < 0.02)
    }

    @Test func `rows outside the segments and other types are errors`() throws {
        let segments = Segments([3, 2])
        func memory() -> SegmentMemory {
            SegmentMemory([segments], heads: 2, size: 4, dtype: .float32)
        }
        for (rows, start) in [(6, 0), (5, 1), (1, 5), (1, -1)] {
            #expect(throws: TorchError.self) {
                try Torch.checked {
                    memory().keep(.zeros([rows, 16], .float32), at: start, in: segments)
                }
            }
            #expect(throws: TorchError.self) {
                try Torch.checked {
                    memory().attend(.zeros([rows, 8], .float32), at: start, in: segments)
                }
            }
        }
        let wrong: [(Tensor, Segments)] = [
            (.zeros([5, 16], .bfloat16), segments), (.zeros([5, 8], .float32), segments),
            (.zeros([5, 16], .float32), Segments([5, 0])),
            (.zeros([5, 16], .float32), Segments([])),
            (.zeros([5, 16], .float32), Segments([65, 65])), (.undefined, segments),
        ]
        for (rows, segments) in wrong {
            #expect(throws: TorchError.self) {
                try Torch.checked { memory().keep(rows, at: 0, in: segments) }
            }
        }
    }
}
