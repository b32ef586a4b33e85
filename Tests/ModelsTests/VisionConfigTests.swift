import Checkpoints
import Foundation
import Models
import Testing
import Torch

/// Configs of vision-language models that cannot be, and some that can.
@Suite struct VisionConfigTests {
    /// Loads a fixture with some text of its config replaced.
    private func load(_ name: String, replacing old: String, by new: String) throws {
        let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Fixtures/models/\(name)")
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "vision-config-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let config = try String(
            contentsOf: fixtures.appending(path: "config.json"),
            encoding: .utf8
        )
        let changed = config.replacingOccurrences(
            of: old,
            with: new,
            options: .regularExpression
        )
        try #require(changed != config)
        try changed.write(
            to: folder.appending(path: "config.json"),
            atomically: true,
            encoding: .utf8
        )
        try FileManager.default.createSymbolicLink(
            at: folder.appending(path: "model.safetensors"),
            withDestinationURL: fixtures.appending(path: "model.safetensors")
        )
        _ = try ModelRegistry.load(Checkpoint(opening: folder.path), dtype: .float32)
    }

    @Test(arguments: [
        ("vl-qwen3", "vision_config", "\"vision_config\"", "\"seen\""),
        ("vl-qwen3", "out_hidden_size", "\"out_hidden_size\": 32", "\"out_hidden_size\": 16"),
        ("vl-qwen3", "num_heads", "\"num_heads\": 2", "\"num_heads\": 3"),
        ("vl-qwen3", "hidden_act", "gelu_pytorch_tanh", "relu"),
        ("vl-qwen3", "in_channels", "\"in_channels\": 3", "\"in_channels\": 1"),
        ("vl-qwen2_5", "window_size", "\"window_size\": 32", "\"window_size\": 7"),
        ("vl-qwen2_5", "mrope_section", "\"mrope_section\": \\[\\s*2", "\"mrope_section\": [1"),
        (
            "vl-qwen2_5", "fullatt_block_indexes", "\"fullatt_block_indexes\": \\[\\s*1",
            "\"fullatt_block_indexes\": [\"a\""
        ),
        (
            "vl-qwen2_5", "spatial_merge_size", "\"spatial_merge_size\": 2",
            "\"spatial_merge_size\": 0"
        ),
    ])
    func `a config that cannot be is an error with the key's name`(
        _ name: String,
        _ key: String,
        _ old: String,
        _ new: String
    ) {
        #expect {
            try load(name, replacing: old, by: new)
        } throws: { error in
            guard case ModelError.config(let named, _, _) = error else { return false }
            return named == key
        }
    }

    @Test(arguments: [
        ("vl-qwen2_5", "\"fullatt_block_indexes\": \\[\\s*1", "\"fullatt_block_indexes\": [1, 900"),
        ("vl-qwen2_5", "\"in_channels\": 3,", ""),
        (
            "vl-qwen3", "\"deepstack_visual_indexes\": \\[\\s*0,\\s*2",
            "\"deepstack_visual_indexes\": [0, 2, 900"
        ),
        ("vl-qwen3", "\"temporal_patch_size\": 2", "\"temporal_patch_size\": null"),
    ])
    func `what transformers passes over is passed over`(
        _ name: String,
        _ old: String,
        _ new: String
    ) throws {
        try load(name, replacing: old, by: new)
    }
}
