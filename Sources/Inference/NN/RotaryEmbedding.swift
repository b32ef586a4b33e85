#if canImport(Glibc)
import Glibc
#endif
public import Torch

/// Rotary positions (RoFormer, Su 2021) in the half-split layout.
///
/// With the frequency scalings of published checkpoints. Cosines and sines are tabled once, up to the
/// highest position met.
public final class RotaryEmbedding {
    /// How frequencies are stretched beyond the trained length.
    public enum Scaling: Equatable, Sendable {
        /// Not at all.
        case none
        /// Every frequency divided by `factor`.
        case linear(factor: Double)
        /// Llama 3: long waves divided by `factor`, short ones kept, a ramp between.
        case llama3(factor: Double, low: Double, high: Double, original: Double)
        /// YaRN (Peng et al. 2023): long waves divided, short ones kept, a ramp between by their number of
        /// turns in the trained length; cosines and sines scaled.
        case yarn(YaRN)
        /// Divided one by one (GGUF `rope_freqs.weight`, `[headSize / 2]`).
        case factors([Float])
    }

    /// Which of three positions (time, height, width) turns a frequency.
    public enum Sections: Equatable, Sendable {
        /// Consecutive shares of the frequencies (Qwen2.5-VL).
        case chunked([Int])
        /// Time, height and width in turn, the rest is time (Qwen3-VL).
        case interleaved([Int])

        /// The axis of each of `count` frequencies.
        func axes(_ count: Int) -> [Int] {
            switch self {
            case .chunked(let sizes):
                let axes = sizes.enumerated().flatMap { Array(repeating: $0, count: $1) }
                return (0..<count).map { axes.indices.contains($0) ? axes[$0] : 0 }
            case .interleaved(let sizes):
                return (0..<count).map { index in
                    let axis = index % 3
                    return sizes.indices.contains(axis) && index < 3 * sizes[axis] ? axis : 0
                }
            }
        }
    }

    /// Cosines and sines for the rows of one step.
    public struct Turns {
        let angles: Tensor
        let rows: [Int32]
    }

    private let angles: Tensor
    private let axes: [Int]?
    private let headSize: Int
    private let frequencies: [Float]
    private let factor: Float
    private var filled = 0
    /// Positions in the table.
    public let positions: Int

    /// A table for positions `0 ..< positions` of heads of `headSize`, an even number.
    ///
    /// `sections`: where rows have three positions.
    public init(
        headSize: Int,
        base: Double,
        scaling: Scaling,
        positions: Int,
        sections: Sections? = nil
    ) {
        self.headSize = headSize
        axes = sections.map { $0.axes(headSize / 2) }
        self.positions = positions
        if case .yarn(let yarn) = scaling {
            factor = Float(yarn.attentionFactor)
        } else {
            factor = 1
        }
        frequencies = Self.frequencies(headSize: headSize, base: base, scaling: scaling)
        // On the device the whole table: a graph that is replayed fills none.
        guard Device.isUsed else {
            angles = .reserved([positions, headSize], .float32)
            return
        }
        let table = Tensor.emptyOnCPU([positions, headSize], .float32)
        Self.fill(table, 0..<positions, frequencies, factor)
        angles = table.placed()
        filled = positions
    }

    /// `x` with `heads` heads from `column` on rotated in place; one position a row.
    public func callAsFunction(
        _ x: Tensor,
        column: Int,
        heads: Int,
        positions: [Int32]
    ) -> Tensor {
        fill(through: Int(positions.max() ?? 0))
        return x.rotated(
            column: column,
            heads: heads,
            size: headSize,
            angles: angles,
            positions: positions
        )
    }

    /// The turns of rows with one position each on one axis, or on three.
    ///
    /// Rows of text have the same on all three, and the table serves them.
    public func turns(_ positions: [[Int32]]) -> Turns {
        guard let first = positions.first else { return Turns(angles: .undefined, rows: []) }
        let last = Int(first.max() ?? 0)
        guard let axes, positions.count == 3,
            last >= self.positions || positions[1] != first || positions[2] != first
        else {
            fill(through: last)
            return Turns(angles: angles, rows: first)
        }
        let half = headSize / 2
        let mixed = Tensor.emptyOnCPU([first.count, headSize], .float32)
        guard let data = mixed.data?.assumingMemoryBound(to: Float.self) else {
            return Turns(angles: .undefined, rows: first)
        }
        for row in first.indices {
            for index in 0..<half {
                let angle = Float(positions[axes[index]][row]) * frequencies[index]
                data[row * headSize + index] = cosf(angle) * factor
                data[row * headSize + half + index] = sinf(angle) * factor
            }
        }
        return Turns(angles: mixed.placed(), rows: first.indices.map { Int32($0) })
    }

    /// `x` with `heads` heads from `column` on rotated in place.
    public func callAsFunction(_ x: Tensor, column: Int, heads: Int, turns: Turns) -> Tensor {
        x.rotated(
            column: column,
            heads: heads,
            size: headSize,
            angles: turns.angles,
            positions: turns.rows
        )
    }

    /// Writes the table's rows up to `last`; a position beyond the table is the kernel's error.
    private func fill(through last: Int) {
        guard last >= filled, last < positions else { return }
        let end = min(positions, last + 256)
        Self.fill(angles, filled..<end, frequencies, factor)
        filled = end
    }

    private static func fill(
        _ table: Tensor,
        _ range: Range<Int>,
        _ frequencies: [Float],
        _ factor: Float
    ) {
        guard let data = table.data?.assumingMemoryBound(to: Float.self) else { return }
        let half = frequencies.count
        for position in range {
            let row = data + position * 2 * half
            for index in 0..<half {
                let angle = Float(position) * frequencies[index]
                row[index] = cosf(angle) * factor
                row[half + index] = sinf(angle) * factor
            }
        }
    }

    /// Turns a position of each of `size / 2` pairs of neighbours: `base^(-2i / size) / 2π`, in float32.
    public static func pairCycles(size: Int, base: Double) -> [Float] {
        (0..<size / 2).map { index in
            1 / powf(Float(base), Float(2 * index) / Float(size)) / Float(2 * Double.pi)
        }
    }

    /// The angle a position of each pair of a head, in float32 as the checkpoints were trained.
    public static func frequencies(headSize: Int, base: Double, scaling: Scaling) -> [Float] {
        if case .yarn(let yarn) = scaling {
            return yarn.frequencies(headSize: headSize, base: base)
        }
        return (0..<headSize / 2).map { index in
            let plain = 1 / powf(Float(base), Float(2 * index) / Float(headSize))
            switch scaling {
            case .none, .yarn: return plain
            case .linear(let factor): return plain / Float(factor)
            case .factors(let factors):
                return factors.indices.contains(index) ? plain / factors[index] : plain
            case .llama3(let factor, let low, let high, let original):
                let wave = 2 * Double.pi / Double(plain)
                if wave < original / high { return plain }
                if wave > original / low { return plain / Float(factor) }
                let smooth = Float((original / wave - low) / (high - low))
                return (1 - smooth) * plain / Float(factor) + smooth * plain
            }
        }
    }
}
