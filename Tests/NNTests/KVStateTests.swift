import Foundation
import NN
import Testing
import Torch

@Suite struct KVStateTests {
    let shape = KVState.Shape(layers: 2, keyHeads: 2, headSize: 8, dtype: .float32)
    let attention = Attention(heads: 4, keyHeads: 2, headSize: 8)

    /// Feeds rows of the common sequence into both layers; the second layer's answers.
    func feed(_ range: Range<Int>, into state: KVState) throws -> [Float] {
        let width = 8 * 8
        let rows = Tensor(noise(300 * width, seed: 8), shape: [300, width]).rows(range)
        let answer = try Torch.checked {
            let run = Step.Run(state: state, count: range.count)
            _ = attention(rows, layer: 0, runs: [run])
            return attention(rows, layer: 1, runs: [run]).floats
        }
        state.advance(by: range.count)
        return answer
    }

    @Test func `a truncated state continues like one that never went further`() throws {
        let state = KVState(shape, capacity: 300)
        _ = try feed(0..<150, into: state)
        let expected = try feed(150..<200, into: state)
        _ = try feed(200..<300, into: state)
        state.truncate(to: 1000)
        #expect(state.length == 300)
        state.truncate(to: 150)
        #expect(state.length == 150)
        #expect(try feed(150..<200, into: state) == expected)
    }

    @Test func `a copy continues like its origin and apart from it`() throws {
        let state = KVState(shape, capacity: 300)
        _ = try feed(0..<100, into: state)
        let copy = KVState(shape, capacity: 220)
        copy.copy(from: state, count: 100)
        #expect(copy.length == 100)
        let expected = try feed(100..<140, into: state)
        #expect(try feed(100..<140, into: copy) == expected)
        copy.copy(from: state, count: 70)
        #expect(copy.length == 70 && state.length == 140)
        let again = KVState(shape, capacity: 300)
        _ = try feed(0..<70, into: again)
        #expect(try feed(70..<80, into: copy) == feed(70..<80, into: again))
    }

    @Test func `a copy of another model's state is an error`() {
        let other = KVState(
            .init(layers: 1, keyHeads: 2, headSize: 8, dtype: .float32),
            capacity: 9
        )
        #expect(throws: TorchError.self) {
            try Torch.checked { other.copy(from: KVState(shape, capacity: 9), count: 1) }
        }
    }

    @Test func `a slot of any size costs only what is written`() throws {
        let large = KVState.Shape(layers: 4, keyHeads: 8, headSize: 128, dtype: .float32)
        let before = residentBytes()
        let state = KVState(large, capacity: 1 << 22)  // 128 GiB of address space
        let heads = Attention(heads: 8, keyHeads: 8, headSize: 128)
        let rows = Tensor(noise(64 * 24 * 128, seed: 2), shape: [64, 24 * 128])
        func fill() throws -> [Float] {
            try Torch.checked {
                heads(rows, layer: 3, runs: [.init(state: state, count: 64)]).floats
            }
        }
        let first = try fill()
        state.advance(by: 64)
        #expect(residentBytes() - before < 1 << 30)
        state.release()
        #expect(state.length == 0)
        #expect(try fill() == first)
    }

    func residentBytes() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0) * 4096
    }
}
