import NN
import Testing
import Torch

/// Linear attention over states of fixed size, against the plain sum over all rows before.
@Suite struct RecurrentStateTests {
    static let (heads, width, size, rows) = (2, 37, 83, 70)
    static let shape = RecurrentState.Shape(layers: 1, heads: heads, width: width, size: size)

    /// Half zeros, as after a threshold.
    static let queries = (0..<heads).map { head in
        noise(rows * width, seed: UInt64(head + 1)).map { max(0, $0) }
    }
    static let values = noise(rows * size, seed: 9)

    static let expected: [[Double]] = queries.map { queries in
        var out = [Double](repeating: 0, count: rows * size)
        for row in 0..<rows {
            for before in 0..<row {
                var product = 0.0
                for n in 0..<width {
                    product +=
                        Double(queries[row * width + n]) * Double(queries[before * width + n])
                }
                for d in 0..<size {
                    out[row * size + d] += product * Double(values[before * size + d])
                }
            }
        }
        return out
    }

    /// The answers of every head for the rows `range`, fed to `state`.
    static func feed(_ range: Range<Int>, to state: RecurrentState) throws -> [[Float]] {
        try Torch.checked {
            let v = Tensor(
                Array(values[range.lowerBound * size..<range.upperBound * size]),
                shape: [range.count, size]
            )
            let answers = (0..<heads).map { head in
                let q = Tensor(
                    Array(queries[head][range.lowerBound * width..<range.upperBound * width]),
                    shape: [range.count, width]
                )
                let runs = [Step.Run(state: state, count: range.count)]
                return LinearAttention(shape: shape)(q, v, layer: 0, head: head, runs: runs).floats
            }
            state.advance(by: range.count)
            return answers
        }
    }

    static func fed(_ pieces: [Int], to state: RecurrentState) throws -> [[Float]] {
        var all = [[Float]](repeating: [], count: heads)
        for piece in pieces {
            let answers = try feed(state.length..<state.length + piece, to: state)
            for head in 0..<heads { all[head] += answers[head] }
        }
        return all
    }

    @Test(arguments: [0, 1, 2, 3])
    func `rows recall the sum over the rows before them`(_ level: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        let found = try Self.fed([Self.rows], to: RecurrentState(Self.shape, capacity: 100))
        for head in 0..<Self.heads {
            #expect(found[head].prefix(Self.size).allSatisfy { $0 == 0 })
            let worst = zip(found[head], Self.expected[head]).map { abs(Double($0) - $1) }.max()
            #expect((worst ?? 9) < 1e-3)
        }
    }

    @Test func `a row's bits do not depend on how the work was cut`() throws {
        let whole = try Self.fed([70], to: RecurrentState(Self.shape, capacity: 70))
        for pieces in [[1, 15, 16, 38], [7, 9, 1, 1, 14, 17, 21], [Int](repeating: 1, count: 70)] {
            let isSame = try Self.fed(pieces, to: RecurrentState(Self.shape, capacity: 70)) == whole
            #expect(isSame)
        }
    }

    @Test func `what the open block holds can be taken back, and no more`() throws {
        let whole = try Self.fed([70], to: RecurrentState(Self.shape, capacity: 70))
        let state = RecurrentState(Self.shape, capacity: 70)
        _ = try Self.fed([45], to: state)
        state.truncate(to: 33)
        #expect(state.length == 33)
        let again = try Self.fed([37], to: state)
        let isSame = again[1] == Array(whole[1].dropFirst(33 * Self.size))
        #expect(isSame)
        state.truncate(to: 60)
        #expect(state.length == 0)
        let fresh = try Self.fed([70], to: state) == whole
        #expect(fresh)
    }

    @Test func `a copy goes on with the same bits, and a released state starts anew`() throws {
        let whole = try Self.fed([70], to: RecurrentState(Self.shape, capacity: 70))
        let first = RecurrentState(Self.shape, capacity: 70)
        _ = try Self.fed([45], to: first)
        let copy = RecurrentState(Self.shape, capacity: 80)
        copy.copy(from: first, count: 40)
        #expect(copy.length == 40)
        let rest = try Self.fed([30], to: copy)
        let isSame = rest[0] == Array(whole[0].dropFirst(40 * Self.size))
        #expect(isSame)
        copy.copy(from: first, count: 31)
        #expect(copy.length == 0)
        first.release()
        #expect(first.length == 0)
        let fresh = try Self.fed([70], to: first) == whole
        #expect(fresh)
    }

    @Test func `states of another shape are errors`() throws {
        let other = RecurrentState.Shape(layers: 1, heads: 2, width: 36, size: 83)
        let state = RecurrentState(other, capacity: 9)
        #expect(throws: TorchError.self) { try Self.feed(0..<3, to: state) }
    }
}
