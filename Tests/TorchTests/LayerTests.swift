import Foundation
import Testing
import Torch

@Suite struct LayerTests {
    @Test(arguments: [0, 1, 2, 3])
    func `norm and gate follow their formulas on every instruction set`(_ level: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        for width in [1, 15, 16, 37, 576] {
            let x = noise(3 * width, seed: 6).map { $0 * 9 }
            let weight = noise(width, seed: 7)
            let gated = noise(6 * width, seed: 8).map { $0 * 30 }
            try Torch.checked {
                let norm = Tensor(x, shape: [3, width]).rmsNorm(
                    Tensor(weight, shape: [width]),
                    epsilon: 1e-5
                ).floats
                let gate = Tensor(gated, shape: [3, 2 * width]).swiglu().floats
                for row in 0..<3 {
                    let values = x[row * width..<(row + 1) * width].map(Double.init)
                    let mean = values.reduce(0) { $0 + $1 * $1 } / Double(width)
                    for i in 0..<width {
                        let normal = values[i] / (mean + 1e-5).squareRoot() * Double(weight[i])
                        #expect(abs(Double(norm[row * width + i]) - normal) < 1e-5)
                        let g = Double(gated[2 * row * width + i])
                        let gateValue = g / (1 + exp(-g)) * Double(gated[(2 * row + 1) * width + i])
                        let error = abs(Double(gate[row * width + i]) - gateValue)
                        #expect(error < 1e-5 * max(1, abs(gateValue)))
                    }
                }
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3])
    func `the centred norm follows its formula on every instruction set`(_ level: Int) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        for width in [1, 15, 16, 37, 576] {
            let x = noise(3 * width, seed: 6).map { $0 * 9 + 4 }
            let weight = noise(width, seed: 7)
            let bias = noise(width, seed: 8)
            let (plain, full) = try Torch.checked {
                let rows = Tensor(x, shape: [3, width])
                let scale = Tensor(weight, shape: [width])
                let shift = Tensor(bias, shape: [width])
                return (
                    rows.layerNorm(epsilon: 1e-5).floats,
                    rows.layerNorm(weight: scale, bias: shift, epsilon: 1e-5).floats
                )
            }
            for row in 0..<3 {
                let values = x[row * width..<(row + 1) * width].map(Double.init)
                let mean = values.reduce(0, +) / Double(width)
                let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
                for i in 0..<width {
                    let at = row * width + i
                    let normal =
                        (values[i] - mean) / (squares / Double(width) + 1e-5).squareRoot()
                    #expect(abs(Double(plain[at]) - normal) < 1e-5)
                    let scaled = normal * Double(weight[i]) + Double(bias[i])
                    #expect(abs(Double(full[at]) - scaled) < 1e-5)
                }
            }
        }
    }

    @Test func `products, thresholds and transposes are elementwise`() throws {
        try Torch.checked {
            let x = Tensor([-1, 2, 3, -4, 5, 6], shape: [2, 3])
            #expect(x.relu().floats == [0, 2, 3, 0, 5, 6])
            #expect((x * x).floats == [1, 4, 9, 16, 25, 36])
            let turned = x.transposed()
            #expect(turned.shape == [3, 2] && turned.floats == [-1, -4, 2, 5, 3, 6])
        }
    }

    @Test func `rotation turns the halves of a head by the position's angles`() throws {
        let angles: [Float] = [1, 1, 0, 0, 0, 0.6, 1, 0.8]
        try Torch.checked {
            let x = Tensor([9, 1, 2, 3, 4], shape: [1, 5])
            let turned = x.rotated(
                column: 1,
                heads: 1,
                size: 4,
                angles: Tensor(angles, shape: [2, 4]),
                positions: [1]
            ).floats
            let expected: [Float] = [9, -3, 0.6 * 2 - 0.8 * 4, 1, 0.6 * 4 + 0.8 * 2]
            #expect(zip(turned, expected).allSatisfy { abs($0 - $1) < 1e-6 })
        }
        #expect(throws: TorchError.self) {
            try Torch.checked {
                Tensor.zeros([1, 4], .float32).rotated(
                    column: 0,
                    heads: 1,
                    size: 4,
                    angles: Tensor(angles, shape: [2, 4]),
                    positions: [2]
                )
            }
        }
    }

    @Test func `types and rows convert and copy as written`() throws {
        try Torch.checked {
            let x = Tensor([1, 2, 3, 4, 5, 6], shape: [3, 2])
            #expect(x.takingRows([2, 0]).floats == [5, 6, 1, 2])
            #expect(x.rows(1..<2).floats == [3, 4])
            #expect((x + x).to(.bfloat16).to(.float32).floats == [2, 4, 6, 8, 10, 12])
            #expect(x.dtype == .float32 && x.shape == [3, 2] && x.count == 6)
        }
        #expect(throws: TorchError.self) {
            try Torch.checked { Tensor([1, 2, 3], shape: [2, 2]) }
        }
    }
}
