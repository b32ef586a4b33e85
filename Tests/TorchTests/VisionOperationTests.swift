import Foundation
import Testing
import Torch

@Suite struct VisionOperationTests {
    @Test(arguments: [0, 1, 2, 3])
    func `both gates follow their formulas, the same wherever a value stands`(_ level: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        let values = noise(200, seed: 3).map { $0 * 12 } + [0, -0, 90, -90, 1e20, -1e20, 3e-30]
        for approximately in [false, true] {
            func gated(_ shape: [Int]) throws -> [Float] {
                try Torch.checked {
                    Tensor(values, shape: shape).gelu(approximately: approximately).floats
                }
            }
            let whole = try gated([1, 207])
            #expect(try gated([207, 1]) == whole)
            #expect(try gated([23, 9]) == whole)
            for (value, found) in zip(values.map(Double.init), whole) {
                let inner =
                    (2 / Double.pi).squareRoot() * (value + 0.044715 * value * value * value)
                let share =
                    approximately ? (1 + tanh(inner)) / 2 : (1 + erf(value / 2.0.squareRoot())) / 2
                #expect(abs(Double(found) - value * share) <= 2e-6 * max(1, abs(value)))
            }
        }
    }

    @Test func `rotation without rounding between is the nearest bfloat16`() throws {
        let angle: Float = 0.7
        let x = noise(64, seed: 9)
        try Torch.checked {
            let rows = Tensor(x, shape: [2, 32]).to(.bfloat16)
            let exact = rows.floats
            let angles = Tensor(
                [Float](repeating: cosf(angle), count: 4)
                    + [Float](repeating: sinf(angle), count: 4),
                shape: [1, 8]
            )
            let turned = rows.rotated(
                column: 0,
                heads: 4,
                size: 8,
                angles: angles,
                positions: [0, 0],
                wide: true
            ).floats
            for head in 0..<8 {
                for i in 0..<4 {
                    let (a, b) = (exact[head * 8 + i], exact[head * 8 + 4 + i])
                    let pair = [
                        a * cosf(angle) - b * sinf(angle), b * cosf(angle) + a * sinf(angle),
                    ]
                    let rounded = Tensor(pair, shape: [1, 2]).to(.bfloat16).floats
                    #expect([turned[head * 8 + i], turned[head * 8 + 4 + i]] == rounded)
                }
            }
        }
    }

    @Test func `rows are put, added and mixed where they belong, and nowhere else`() throws {
        try Torch.checked {
            let x = Tensor([1, 2, 3, 4, 5, 6], shape: [3, 2])
            x.put(Tensor([10, 20], shape: [1, 2]), at: 1)
            x.add(Tensor([1, 1, 2, 2], shape: [2, 2]), at: 1)
            #expect(x.floats == [1, 2, 11, 21, 7, 8])
            let mixed = x.mixingRows([0, 2, 1, 1], weights: [0.5, 0.25, 1, 0], taps: 2)
            #expect(mixed.floats == [2.25, 3, 11, 21])
        }
        for at in [-1, 3] {
            #expect(throws: TorchError.self) {
                try Torch.checked {
                    Tensor.zeros([3, 2], .float32).put(Tensor.zeros([1, 2], .float32), at: at)
                }
            }
        }
        #expect(throws: TorchError.self) {
            try Torch.checked {
                Tensor.zeros([3, 2], .float32).mixingRows([3], weights: [1], taps: 1)
            }
        }
    }
}
