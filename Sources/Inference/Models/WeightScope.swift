import Checkpoints
import NN
import Torch
import Weights

/// The weights below one prefix: `scope["layers.0"].linear("down_proj", from: i, to: d)`.
struct WeightScope {
    let reader: WeightReader
    let prefix: String
    /// What its layers are to the model.
    var role = MatrixRole.layer

    /// The decoder's weights, below whichever prefix the checkpoint's writer has put them.
    static func decoder(of reader: WeightReader) -> WeightScope {
        let prefixes = ["model", "model.language_model", "language_model.model", "language_model"]
        let found = prefixes.first { reader.has("\($0).embed_tokens.weight") }
        let bare = found == nil && reader.has("embed_tokens.weight")
        return WeightScope(reader: reader, prefix: found ?? (bare ? "" : "model"))
    }

    /// The head beside this decoder, or nil where the embedding serves.
    ///
    /// A head of its own wins over the flag `tied`, as in transformers; the same bytes twice are kept
    /// once.
    func ownHead(from input: Int, to output: Int, tied: Bool) throws -> Linear? {
        let root = WeightScope(reader: reader, prefix: "")
        let names = ["lm_head", "language_model.lm_head", "model.lm_head"]
        let own = names.first { reader.has("\($0).weight") }
        if tied, own.map({ reader.areEqual("\($0).weight", path("embed_tokens.weight")) }) ?? true {
            return nil
        }
        return Linear(try root.table(own ?? "lm_head", rows: output, columns: input))
    }

    /// The weights one level down.
    subscript(name: String) -> WeightScope {
        WeightScope(reader: reader, prefix: path(name), role: role)
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
        let weight = try reader.matrix(
            names.map { path("\($0).weight") },
            rows: outputs,
            columns: input,
            role: role
        )
        let added =
            bias
            ? try reader.stacked(names.map { path("\($0).bias") }, rows: outputs, columns: nil)
            : nil
        return Linear(weight, bias: added)
    }

    /// `[size]`.
    func norm(_ name: String, size: Int, epsilon: Float) throws -> RMSNorm {
        RMSNorm(try reader.tensor(path("\(name).weight"), [size]), epsilon: epsilon)
    }

    /// `[rows, columns]`.
    func table(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
        try reader.matrix(
            [path("\(name).weight")],
            rows: [rows],
            columns: columns,
            role: .table
        )
    }

    func path(_ name: String) -> String { prefix.isEmpty ? name : "\(prefix).\(name)" }
}
