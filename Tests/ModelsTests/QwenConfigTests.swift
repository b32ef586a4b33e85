import Checkpoints
import Foundation
import JSON
import Models
import NN
import Testing
import Torch

/// Copies of a small checkpoint with another `config.json` or other names of its tensors.
struct Altered {
    let folder: URL

    init(
        _ name: String,
        config change: (inout JSONObject) -> Void = { _ in },
        tensor rename: (String) -> String = { $0 }
    ) throws {
        let fixture = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/models/\(name)")
        folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let text = try Data(contentsOf: fixture.appending(path: "config.json"))
        var config = try #require(try JSONValue.parse([UInt8](text)).object)
        change(&config)
        try Data(JSONValue.object(config).bytes()).write(to: folder.appending(path: "config.json"))
        let old = try Data(contentsOf: fixture.appending(path: "model.safetensors"))
        let size = old.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try #require(try JSONValue.parse([UInt8](old[8..<8 + size])).object)
        var renamed = JSONObject()
        for (name, value) in header.members { renamed[rename(name)] = value }
        let bytes = JSONValue.object(renamed).bytes()
        var file = withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { Data($0) }
        file += bytes
        file += old[(8 + size)...]
        try file.write(to: folder.appending(path: "model.safetensors"))
    }

    /// Logits of every position of a fixed prompt, and the context's length.
    func logits() throws -> (logits: [Float], context: Int) {
        defer { try? FileManager.default.removeItem(at: folder) }
        let model = try ModelRegistry.load(Checkpoint(opening: folder.path), dtype: .float32)
        let ids = (0..<30).map { Int32($0 * 7) }
        let logits = try Torch.checked {
            model(
                Step(
                    tokens: ids,
                    runs: [.init(state: model.makeState(capacity: 30), count: 30)],
                    outputRows: Array(0..<30)
                )
            ).floats
        }
        return (logits, model.contextLength)
    }
}

@Suite struct QwenConfigTests {
    /// transformers 5's spelling to that before.
    static func old(_ config: inout JSONObject) {
        var scaling = config["rope_parameters"]?.object ?? JSONObject()
        config["rope_parameters"] = nil
        config["rope_theta"] = scaling["rope_theta"]
        scaling["type"] = scaling["rope_type"]
        scaling["rope_theta"] = nil
        scaling["rope_type"] = nil
        config["rope_scaling"] = scaling["type"]?.string == "default" ? .null : .object(scaling)
        config["torch_dtype"] = config["dtype"]
        config["dtype"] = nil
        config["layer_types"] = nil
    }

    static let names = ["qwen2", "qwen2-window", "qwen3-yarn"]

    @Test(arguments: names)
    func `both spellings of a config mean the same`(_ name: String) throws {
        let new = try Altered(name).logits()
        let old = try Altered(name, config: Self.old).logits()
        #expect(new == old)
    }

    @Test(arguments: names)
    func `what the text part of a config says goes before the rest`(_ name: String) throws {
        let plain = try Altered(name).logits()
        let nested = try Altered(name) { config in
            let inner = config
            config = JSONObject([("model_type", inner["model_type"] ?? .null), ("hidden_size", 7)])
            config["text_config"] = .object(inner)
        }.logits()
        #expect(plain == nested)
    }

    @Test(arguments: names)
    func `a decoder is found below the prefixes that writers use`(_ name: String) throws {
        let plain = try Altered(name).logits()
        for prefix in ["", "model.language_model.", "language_model.model.", "language_model."] {
            let moved = try Altered(
                name,
                tensor: {
                    $0.hasPrefix("model.") ? prefix + $0.dropFirst(6) : $0
                }
            ).logits()
            #expect(plain == moved)
        }
    }

    @Test func `a window counts only where the config switches it on`() throws {
        let whole = try Altered("qwen2-window") { $0["use_sliding_window"] = false }.logits()
        let wide = try Altered("qwen2-window") { $0["sliding_window"] = 30 }.logits()
        let none = try Altered("qwen2-window") { $0["sliding_window"] = .null }.logits()
        let narrow = try Altered("qwen2-window").logits()
        #expect(whole == wide && whole == none && whole != narrow)
        let vocabulary = narrow.logits.count / 30
        #expect(whole.logits.prefix(7 * vocabulary) == narrow.logits.prefix(7 * vocabulary))
    }

    @Test func `the Qwen of 2023 is refused by the name of its successor`() {
        #expect {
            try Altered("qwen2") { $0["model_type"] = "qwen" }.logits()
        } throws: {
            "\($0)".contains("Qwen2.5-14B-Instruct")
        }
    }

    static let wrong: [(String, JSONValue)] = [
        ("sliding_window", 0), ("sliding_window", "x"), ("max_window_layers", -1),
        ("layer_types", ["full_attention"]), ("layer_types", 3),
        ("layer_types", ["full_attention", "full_attention", "linear_attention"]),
    ]

    @Test(arguments: wrong.indices)
    func `windows that no model can have are errors`(_ index: Int) throws {
        #expect(throws: ModelError.self) {
            try Altered("qwen2-window") {
                $0["layer_types"] = nil
                $0[Self.wrong[index].0] = Self.wrong[index].1
            }.logits()
        }
    }
}
