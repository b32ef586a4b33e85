import NN
import Torch
import Weights

/// The weights below one prefix: `scope["layers.0"].linear("down_proj", from: i, to: d)`.
struct WeightScope {
    let reader: WeightReader
    let prefix: String

    /// The weights one level down.
    subscript(name: String) -> WeightScope {
        WeightScope(reader: reader, prefix: path(name))
    }

    /// `[out, in]`, with a bias `[out]` where there should be one.
    func linear(_ name: String, from input: Int, to output: Int, bias: Bool = false) throws
        -> Linear
    {
        try linear([name], from: input, to: [output], bias: bias)
    }

    /// Several layers of the same input as one, their outputs side by side.
    func linear(_ names: [String], from input: Int, to outputs: [Int], bias: Bool = false) throws
        -> Linear
    {
        let weight = try reader.stacked(
            names.map { path("\($0).weight") },
            rows: outputs,
            columns: input
        )
        let added =
            bias
            ? try reader.stacked(names.map { path("\($0).bias") }, rows: outputs, columns: nil)
            : nil
        return Linear(.dense(weight), bias: added)
    }

    /// `[size]`.
    func norm(_ name: String, size: Int, epsilon: Float) throws -> RMSNorm {
        RMSNorm(try reader.tensor(path("\(name).weight"), [size]), epsilon: epsilon)
    }

    /// `[rows, columns]`.
    func table(_ name: String, rows: Int, columns: Int) throws -> Tensor {
        try reader.tensor(path("\(name).weight"), [rows, columns])
    }

    private func path(_ name: String) -> String { prefix.isEmpty ? name : "\(prefix).\(name)" }
}
