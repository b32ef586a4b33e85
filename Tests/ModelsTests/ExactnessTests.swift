import Checkpoints
import NN
import Testing
import Torch

/// In float32 a position's logits have the same bits however the work was cut.
@Suite(.serialized) struct ExactnessTests {
    @Test(arguments: GoldenTests.names)
    func `logits do not depend on chunks, batch, threads or a second prefill`(_ name: String) throws
    {
        defer { Torch.start(threads: 2) }
        let golden = try Golden(name)
        let count = golden.ids.count
        func fed(_ pieces: [Int], beside others: Int = 0) throws -> [Float] {
            let state = golden.model.makeState(capacity: 128)
            let neighbours = (0..<others).map { _ in golden.model.makeState(capacity: 128) }
            var logits: [Float] = []
            var start = 0
            for piece in pieces {
                var tokens: [Int32] = []
                var runs: [Step.Run] = []
                for (index, neighbour) in neighbours.enumerated() {
                    tokens += [Int32](repeating: Int32(7 + index), count: index % 3 + 1)
                    runs.append(.init(state: neighbour, count: index % 3 + 1))
                }
                let first = tokens.count
                tokens += golden.ids[start..<start + piece]
                runs.append(.init(state: state, count: piece))
                logits += try Torch.checked {
                    golden.model(
                        Step(tokens: tokens, runs: runs, outputRows: Array(first..<first + piece))
                    ).floats
                }
                for neighbour in neighbours { neighbour.truncate(to: 20) }
                start += piece
            }
            return logits
        }
        Torch.start(threads: 1)
        let whole = try fed([count])
        for threads in [1, 2] {
            Torch.start(threads: threads)
            let alone = try fed([Int](repeating: 1, count: count)) == whole
            let chunked = try fed([5, 16, 1, 2, count - 24]) == whole
            let batched = try fed([count - 9] + [Int](repeating: 1, count: 9), beside: 6) == whole
            #expect(alone && chunked && batched)
        }
    }

    @Test func `a restored prefix continues with the same bits`() throws {
        let golden = try Golden("llama-tied")
        let model = golden.model
        func logits(_ state: any SequenceState, _ ids: ArraySlice<Int32>) throws -> [Float] {
            try Torch.checked {
                model(
                    Step(
                        tokens: Array(ids),
                        runs: [.init(state: state, count: ids.count)],
                        outputRows: [ids.count - 1]
                    )
                ).floats
            }
        }
        let first = model.makeState(capacity: 100)
        let whole = try logits(first, golden.ids[...])
        let copy = model.makeState(capacity: 90)
        copy.copy(from: first, count: 70)
        #expect(try logits(copy, golden.ids[70...]) == whole)
        first.truncate(to: 33)
        #expect(try logits(first, golden.ids[33...]) == whole)
    }

    @Test func `bfloat16 stays near float32`() throws {
        let golden = try Golden("llama-llama3rope", dtype: .bfloat16)
        let state = golden.model.makeState(capacity: 100)
        let found = try Torch.checked {
            golden.model(
                Step(
                    tokens: golden.ids,
                    runs: [.init(state: state, count: golden.ids.count)],
                    outputRows: Array(golden.ids.indices)
                )
            )
        }.floats
        let worst = zip(found, golden.logits).map { abs($0 - $1) }.max() ?? 9
        let largest = golden.logits.map(abs).max() ?? 0
        #expect(worst < 0.05 * largest)
    }

    @Test func `unsound steps are errors and leave the states alone`() throws {
        let model = try Golden("llama-tied").model
        let state = model.makeState(capacity: 4)
        let cases = [
            Step(tokens: [], runs: [], outputRows: []),
            Step(tokens: [1, 2], runs: [.init(state: state, count: 1)], outputRows: [0]),
            Step(tokens: [1], runs: [.init(state: state, count: 1)], outputRows: [1]),
            Step(tokens: [1], runs: [.init(state: state, count: 1)], outputRows: [-1]),
            Step(tokens: [1280], runs: [.init(state: state, count: 1)], outputRows: [0]),
            Step(tokens: [-1], runs: [.init(state: state, count: 1)], outputRows: [0]),
            Step(
                tokens: [1, 2, 3, 4, 5],
                runs: [.init(state: state, count: 5)],
                outputRows: [0]
            ),
            Step(
                tokens: [1, 2],
                runs: [.init(state: state, count: 1), .init(state: state, count: 1)],
                outputRows: [0]
            ),
            Step(
                input: .tokens([1]),
                positions: [[4096]],
                runs: [.init(state: state, count: 1)],
                outputRows: [0]
            ),
        ]
        for step in cases {
            #expect(throws: TorchError.self) { try Torch.checked { model(step) } }
            #expect(state.length == 0)
        }
    }
}
