#if canImport(Glibc)
import Glibc
#endif

/// The YaRN scaling of rotary frequencies, in the arithmetic of transformers: bounds in float64, the ramp
/// and the frequencies in float32.
public struct YaRN: Equatable, Sendable {
    /// How much longer the context becomes.
    public var factor: Double
    /// Positions of the training.
    public var original: Double
    /// Waves with more turns than this in the trained length are kept.
    public var betaFast = 32.0
    /// Waves with fewer turns than this are divided by `factor`.
    public var betaSlow = 1.0
    /// Whether the ramp begins and ends at whole pairs.
    public var truncate = true
    /// What cosines and sines are multiplied with.
    public var attentionFactor: Double

    /// A scaling with the paper's bounds; `attentionFactor` nil is the paper's too.
    public init(factor: Double, original: Double, attentionFactor: Double? = nil) {
        self.factor = factor
        self.original = original
        self.attentionFactor = attentionFactor ?? Self.magnitude(factor)
    }

    /// `0.1 · weight · ln(factor) + 1`, and 1 where nothing is stretched.
    public static func magnitude(_ factor: Double, weight: Double = 1) -> Double {
        factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1
    }

    /// The angle a position of each pair of a head.
    func frequencies(headSize: Int, base: Double) -> [Float] {
        let size = Double(headSize)
        // The pair that turns so often in the trained length.
        func pair(turns: Double) -> Double {
            size * log(original / (turns * 2 * .pi)) / (2 * log(base))
        }
        var low = pair(turns: betaFast)
        var high = pair(turns: betaSlow)
        if truncate {
            low = low.rounded(.down)
            high = high.rounded(.up)
        }
        low = max(low, 0)
        high = min(high, size - 1)
        if low == high { high += 0.001 }
        return (0..<headSize / 2).map { index in
            let wave = powf(Float(base), Float(2 * index) / Float(headSize))
            let ramp = min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
            let kept = 1 - ramp
            return 1 / (Float(factor) * wave) * (1 - kept) + 1 / wave * kept
        }
    }
}
