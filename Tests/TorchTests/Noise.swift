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

extension Tensor {
    static func noise(_ shape: [Int], seed: UInt64, _ dtype: DType = .float32) -> Tensor {
        Tensor(TorchTests.noise(shape.reduce(1, *), seed: seed), shape: shape).to(dtype)
    }
}
