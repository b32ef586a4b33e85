import Testing
import Torch

/// Serialised: the number of threads is the process's.
@Suite(.serialized) struct LinearTests {
    /// (outputs, inputs) of SmolLM2's layers and of shapes that fit no vector.
    static let shapes = [(960, 576), (576, 576), (3072, 576), (576, 1536), (100, 33), (7, 5)]

    @Test(arguments: shapes)
    func `a float32 row has the same bits alone and among any number of rows`(
        _ shape: (Int, Int)
    ) throws {
        let (outputs, inputs) = shape
        defer { Torch.start(threads: 2) }
        let weight = Tensor.noise([outputs, inputs], seed: 1)
        let rows = Tensor.noise([300, inputs], seed: 2)
        try Torch.checked {
            Torch.start(threads: 1)
            let alone = (0..<300).flatMap { rows.takingRows([$0]).linear(weight).floats }
            for threads in [1, 2] {
                Torch.start(threads: threads)
                for count in [2, 3, 4, 5, 16, 17, 64, 300] {
                    let together = rows.rows(0..<count).linear(weight).floats
                    let same = together == Array(alone.prefix(count * outputs))
                    #expect(same, "\(count) rows, \(threads) threads")
                }
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3], [1, 2, 3, 4])
    func `few bfloat16 rows agree with a float32 product on every instruction set`(
        _ level: Int,
        _ count: Int
    ) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        for (outputs, inputs) in Self.shapes {
            try Torch.checked {
                let weight = Tensor.noise([outputs, inputs], seed: 3, .bfloat16)
                let bias = Tensor.noise([outputs], seed: 4, .bfloat16)
                let x = Tensor.noise([count, inputs], seed: 5, .bfloat16)
                let fast = x.linear(weight, bias: bias).floats
                let slow = x.to(.float32).linear(weight.to(.float32), bias: bias.to(.float32))
                    .floats
                let worst = zip(fast, slow).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 1
                #expect(worst < 0.006)
            }
        }
    }

    @Test func `shapes that do not fit are errors, and the first one is thrown`() {
        #expect(throws: TorchError.self) {
            try Torch.checked { Tensor.zeros([2, 3], .float32).linear(.zeros([4, 5], .float32)) }
        }
        #expect {
            try Torch.checked {
                let undefined = Tensor.zeros([2, 3], .float32).embedding([7])
                return undefined.swiglu() + undefined
            }
        } throws: {
            ($0 as? TorchError)?.message.contains("token 7 is outside the vocabulary of 2") == true
        }
    }
}
