public import Torch

/// The gated feed-forward layer `down(silu(gate(x)) · up(x))`, gate and up in one product.
public struct SwiGLU {
    private let gateUp: Linear
    private let down: Linear

    /// A layer from `gateUp` `[2 · I, D]` (gate's rows first) and `down` `[D, I]`.
    public init(gateUp: Linear, down: Linear) {
        self.gateUp = gateUp
        self.down = down
    }

    /// Adds the layer of the norm of `x`.
    public func add(to x: inout Residual, of norm: RMSNorm) {
        let inner = x.product(gateUp, of: norm, gated: true)  // [T, I]
        x.add(down, of: inner)
    }

    /// `[T, D]` to `[T, D]`.
    public func callAsFunction(_ x: Tensor) -> Tensor { down(gateUp(x).swiglu()) }
}
