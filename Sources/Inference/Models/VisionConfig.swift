import Checkpoints
import JSON
import NN
import Torch
import Vision
import Weights

/// What the vision towers' configs spell alike, checked.
struct VisionConfig {
    let fields: ConfigReader
    let layout: PatchLayout
    let depth, hidden, heads, output: Int
    let base: Float
    let dtype: Tensor.DType

    /// What a family's config is where the file is silent, as its class in transformers has it.
    struct Defaults {
        let patch, depth, hidden: Int
        let heads = 16
        let output = 3584
    }

    /// Reads `vision_config`.
    init(_ reader: WeightReader, otherwise usual: Defaults) throws(ModelError) {
        guard let vision = reader.checkpoint.config["vision_config"], vision.object != nil else {
            throw .config(key: "vision_config", found: "absent", expected: "an object")
        }
        let fields = ConfigReader(vision)
        self.fields = fields
        layout = PatchLayout(
            patch: try fields.int("patch_size", in: 1...1024, otherwise: usual.patch),
            merge: try fields.int("spatial_merge_size", in: 1...64, otherwise: 2),
            temporalPatch: try fields.int("temporal_patch_size", in: 1...64, otherwise: 2)
        )
        depth = try fields.int("depth", in: 1...1024, otherwise: usual.depth)
        hidden = try fields.int("hidden_size", in: 4...131_072, otherwise: usual.hidden)
        heads = try fields.int("num_heads", in: 1...1024, otherwise: usual.heads)
        output = try fields.int("out_hidden_size", in: 1...131_072, otherwise: usual.output)
        let width = try ConfigReader(reader).int("hidden_size", in: 1...131_072)
        guard output == width else {
            throw .config(
                key: "out_hidden_size",
                found: "\(output)",
                expected: "the language model's \(width)"
            )
        }
        guard hidden % heads == 0, hidden / heads % 4 == 0 else {
            throw .config(
                key: "num_heads",
                found: "\(heads)",
                expected: "a divisor of \(hidden) that leaves a multiple of 4"
            )
        }
        let channels = try fields.int(
            "in_channels",
            in: 1...64,
            otherwise: fields.int("in_chans", in: 1...64, otherwise: 3)
        )
        guard channels == 3 else {
            throw .config(key: "in_channels", found: "\(channels)", expected: "3")
        }
        let rope = fields.value("rope_parameters").map { ConfigReader($0) } ?? fields
        base = Float(try rope.double("rope_theta", in: 1...1e12, otherwise: 10_000))
        dtype = reader.dtype
    }

    /// Patches in a token.
    var merged: Int { layout.merge * layout.merge }

    /// A group before the first block: embedded patches, their places among those of `tiles` in order.
    func state(
        _ x: Tensor,
        _ tiles: [VisionTile],
        places: [Int32],
        windows: [Int] = [],
        order: [Int]? = nil,
        mergers: Int
    ) -> TowerState {
        let size = hidden / heads
        let (tileRows, windowRows) = (Segments(tiles.map(\.count)), Segments(windows))
        return TowerState(
            x: x,
            angles: VisionPlaces.angles(tiles, merge: layout.merge, size: size, base: base),
            places: places,
            tiles: tileRows,
            windows: windowRows,
            order: order,
            memory: SegmentMemory([tileRows, windowRows], heads: heads, size: size, dtype: dtype),
            merged: Array(repeating: [], count: mergers)
        )
    }
}

extension ConfigReader {
    /// Indexes of blocks; there may be some that the model has not, which mean nothing.
    func indexes(_ key: String, otherwise: [Int]) throws(ModelError) -> [Int] {
        guard let value = value(key) else { return otherwise }
        let indexes = value.array?.compactMap(\.int) ?? []
        guard indexes.count == value.array?.count, indexes.count <= 1024 else {
            throw .config(key: key, found: text(value), expected: "a list of blocks")
        }
        return indexes
    }

    /// One of the activations that the model can have.
    func activation(_ key: String, of known: [String]) throws(ModelError) -> String {
        guard let value = value(key) else { return known[0] }
        guard let name = value.string, known.contains(name) else {
            throw .config(key: key, found: text(value), expected: known.joined(separator: " or "))
        }
        return name
    }

    /// The shares of time, height and width in the frequencies of a head; `total`: what they add up to.
    func sections(total: Int?, otherwise: [Int]) throws(ModelError) -> [Int] {
        let holders = [value("rope_scaling"), value("rope_parameters")].compactMap { $0 }
        let written = holders.lazy.compactMap { $0["mrope_section"] }.first
        let sections = written.map { $0.array?.compactMap(\.int) ?? [] } ?? otherwise
        guard sections.count == 3, sections.allSatisfy({ (0...1024).contains($0) }),
            total.map({ $0 == sections.reduce(0, +) }) ?? true
        else {
            throw .config(
                key: "mrope_section",
                found: written.map { text($0) } ?? "\(otherwise)",
                expected: "three shares" + (total.map { " of \($0)" } ?? "")
            )
        }
        return sections
    }
}

extension WeightScope {
    /// The tower's weights, below whichever prefix the checkpoint's writer has put them.
    static func vision(of reader: WeightReader) -> WeightScope {
        let prefixes = ["visual", "model.visual", "vision_tower", "model.vision_tower"]
        let found = prefixes.first { reader.has("\($0).patch_embed.proj.weight") }
        return WeightScope(reader: reader, prefix: found ?? "model.visual", role: .tower)
    }

    /// A tensor of this shape.
    func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
        try reader.tensor(path(name), shape)
    }

    /// The convolution over whole patches, as the matrix that it is.
    func patches(_ c: VisionConfig, bias: Bool) throws -> Linear {
        let layout = c.layout
        let shape = [c.hidden, 3, layout.temporalPatch, layout.patch, layout.patch]
        let columns = shape.dropFirst().reduce(1, *)
        let weight = try reader.flattened(path("proj.weight"), shape).reshaped([c.hidden, columns])
        return Linear(.dense(weight), bias: bias ? try tensor("proj.bias", [c.hidden]) : nil)
    }

    /// `[size]` each.
    func layerNorm(_ name: String, size: Int, epsilon: Float) throws -> LayerNorm {
        LayerNorm(
            try tensor("\(name).weight", [size]),
            bias: try tensor("\(name).bias", [size]),
            epsilon: epsilon
        )
    }
}
