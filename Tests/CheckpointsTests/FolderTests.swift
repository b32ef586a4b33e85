import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct FolderTests {
    private func header(_ name: String) -> [UInt8] {
        safetensors(#"{"\#(name)":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: 2)
    }

    private func kind(_ bench: Bench) -> CheckpointError.Kind? {
        do {
            _ = try Checkpoint(opening: bench.path)
            return nil
        } catch { return error.kind }
    }

    @Test func `shards are found through the index`() throws {
        let bench = try Bench()
        try bench.write("config.json", "{}")
        try bench.write("one.safetensors", header("a"))
        try bench.write("two.safetensors", header("b"))
        try bench.write(
            "model.safetensors.index.json",
            #"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#
        )
        let checkpoint = try Checkpoint(opening: bench.path)
        #expect(checkpoint.tensors.keys.sorted() == ["a", "b"])
        #expect(checkpoint.tensors["b"]?.file == "two.safetensors")
        try bench.write("two.safetensors", header("a"))
        #expect(kind(bench) == .corrupt)
        try FileManager.default.removeItem(atPath: "\(bench.path)/two.safetensors")
        #expect(kind(bench) == .missing)
    }

    @Test(arguments: [
        "../secret.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..",
        ".hidden.safetensors",
        "config.json", "",
    ])
    func `an index names files beside it only`(_ name: String) throws {
        let bench = try Bench()
        try bench.write("sub/config.json", "{}")
        try bench.write("secret.safetensors", header("a"))
        try bench.write(
            "sub/model.safetensors.index.json",
            #"{"weight_map":{"a":"\#(name)"}}"#
        )
        #expect(throws: CheckpointError.self) { try Checkpoint(opening: "\(bench.path)/sub") }
        do { _ = try Checkpoint(opening: "\(bench.path)/sub") } catch {
            #expect(error.kind == .corrupt)
        }
    }

    @Test func `a folder without config, weights or sense says what is wrong`() throws {
        let bench = try Bench()
        #expect(kind(bench) == .missing)
        try bench.write("config.json", "{}")
        #expect(kind(bench) == .missing)
        try bench.write("model.safetensors.index.json", "{}")
        #expect(kind(bench) == .corrupt)
        try bench.write("config.json", "[1]")
        #expect(kind(bench) == .corrupt)
        try bench.write("config.json", "{")
        #expect(kind(bench) == .corrupt)
        #expect(throws: CheckpointError.self) { try Checkpoint(opening: "\(bench.path)/none") }
        #expect(throws: CheckpointError.self) { try Checkpoint(opening: "\(bench.path)/none.gguf") }
        #expect(throws: CheckpointError.self) { try Checkpoint(opening: "") }
    }

    @Test func `a folder's only GGUF file is the model, two are refused`() throws {
        let bench = try Bench()
        try bench.write("a.gguf", GGUFWriter.sample.file())
        let checkpoint = try Checkpoint(opening: bench.path)
        #expect(checkpoint.isGGUF)
        try bench.write("b.gguf", GGUFWriter.sample.file())
        #expect(kind(bench) == .unsupported)
    }

    @Test func `the revision changes with a file and not without`() throws {
        let bench = try Bench()
        let first = try bench.open(weights: header("a")).revision
        #expect(try Checkpoint(opening: bench.path).revision == first)
        #expect(first.count == 16)
        try bench.write("model.safetensors", header("b"))
        let second = try Checkpoint(opening: bench.path).revision
        #expect(second != first)
    }

    @Test func `a tokeniser may have fewer ids than the model and not more`() throws {
        let bench = try Bench()
        try bench.write("config.json", #"{"model_type":"llama","vocab_size":100}"#)
        let configuration = try ModelConfiguration(opening: bench.path)
        try configuration.check(tokenizerSize: 90)
        try configuration.check(tokenizerSize: 100)
        #expect {
            try configuration.check(tokenizerSize: 101)
        } throws: {
            let detail = ($0 as? CheckpointError)?.detail ?? ""
            return detail.contains("101") && detail.contains("100")
        }
    }

    @Test func `ends of text come from config and generation config`() throws {
        let bench = try Bench()
        try bench.write("generation_config.json", #"{"eos_token_id":[7,9]}"#)
        let config =
            #"{"eos_token_id":9,"text_config":{"max_position_embeddings":33,"vocab_size":5}}"#
        let checkpoint = try bench.open(weights: header("a"), config: config)
        #expect(checkpoint.configuration.eosTokenIDs == [9, 7])
        #expect(checkpoint.contextLength == 33)
        #expect(checkpoint.configuration.vocabularySize == 5)
    }

    @Test func `a tensor's bytes outlive nothing but are the file's own`() throws {
        let bench = try Bench()
        let checkpoint = try bench.open(weights: header("a"))
        try FileManager.default.removeItem(atPath: "\(bench.path)/model.safetensors")
        #expect(checkpoint.tensors["a"].map { Array($0.bytes) } == [0, 1])
    }

    @Test func `devices and pipes are no weights`() throws {
        let bench = try Bench()
        try bench.write("config.json", "{}")
        try FileManager.default.createSymbolicLink(
            atPath: "\(bench.path)/model.safetensors",
            withDestinationPath: "/dev/zero"
        )
        #expect(kind(bench) == .missing)
    }

    @Test func `the catalogue knows folders, files and the Hugging Face cache`() throws {
        let bench = try Bench()
        try bench.write("models/small/config.json", "{}")
        try bench.write("models/small/model.safetensors", header("a"))
        try bench.write("models/text-only/config.json", "{}")
        try bench.write("models/packed/x.gguf", [])
        try bench.write("models/both/x.gguf", [])
        try bench.write("models/both/y.gguf", [])
        try bench.write("models/single.Q4.gguf", [])
        try bench.write("models/.hidden/config.json", "{}")
        try bench.write("models/bad name/config.json", "{}")
        try bench.write("models/notes.txt", "x")
        try bench.write("other/small/config.json", "{}")
        let cache = "hf/hub/models--org--name"
        try bench.write("\(cache)/snapshots/abc/config.json", "{}")
        try bench.write("\(cache)/snapshots/abc/model.safetensors.index.json", "{}")
        try bench.write("\(cache)/snapshots/abc/model-00001-of-00001.safetensors", [])
        try bench.write("\(cache)/snapshots/def/config.json", "{}")
        try bench.write("\(cache)/refs/main", "abc\n")
        try bench.write("hf/hub/models--evil--..--x/snapshots/abc/config.json", "{}")
        try bench.write("hf/hub/models--evil--name/snapshots/abc/config.json", "{}")
        try bench.write("hf/hub/models--evil--name/refs/main", "../../../../models/small")
        try bench.write("hf/hub/datasets--org--name/snapshots/abc/config.json", "{}")
        let entries = ModelCatalog.scan(
            directories: ["\(bench.path)/models", "\(bench.path)/other", "\(bench.path)/none"],
            huggingFaceHome: "\(bench.path)/hf"
        )
        #expect(
            entries.map(\.id) == [
                "evil/name", "org/name", "packed", "single.Q4", "small", "text-only",
            ]
        )
        let folders = ["\(bench.path)/models", "\(bench.path)/other"]
        let unnamed = "\(bench.path)/models/bad name"
        #expect(ModelCatalog.unnamed(directories: folders) == [unnamed])
        // An id of its own serves it.
        #expect(ModelCatalog.unnamed(named: ["x": unnamed], directories: folders).isEmpty)
        let byID = Dictionary(uniqueKeysWithValues: entries.map { ($0.id, $0) })
        #expect(byID["org/name"]?.path == "\(bench.path)/\(cache)/snapshots/abc")
        #expect(byID["evil/name"]?.path.hasSuffix("models--evil--name/snapshots/abc") == true)
        #expect(byID["org/name"]?.ownedBy == "huggingface")
        #expect(byID["org/name"]?.hasWeights == true)
        #expect(byID["small"]?.path == "\(bench.path)/models/small")
        #expect(byID["small"]?.ownedBy == "user")
        #expect(byID["text-only"]?.hasWeights == false)
        #expect(byID["packed"]?.hasWeights == true)
        let age = byID["small"].map { Date().timeIntervalSince($0.created) } ?? .infinity
        #expect(abs(age) < 3600)
    }

    @Test func `models whose files are cut off or lead nowhere lack weights`() throws {
        let bench = try Bench()
        func found(_ files: [String], gone: [String] = []) throws -> Bool? {
            let folder = "\(UUID())"
            for name in files { try bench.write("m/\(folder)/\(name)", "{}") }
            for name in gone {
                try bench.write("m/\(folder)/.keep", "")
                try FileManager.default.createSymbolicLink(
                    atPath: "\(bench.path)/m/\(folder)/\(name)",
                    withDestinationPath: "../../blobs/none"
                )
            }
            return ModelCatalog.scan(directories: ["\(bench.path)/m"], huggingFaceHome: nil)
                .first { $0.path.hasSuffix(folder) }?.hasWeights
        }
        let index = "model.safetensors.index.json"
        let parts = (1...3).map { "model-0000\($0)-of-00003.safetensors" }
        #expect(try found(["config.json", "model.safetensors"]) == true)
        #expect(try found(["config.json", index] + parts) == true)
        #expect(try found(["config.json", index, "weights.safetensors"]) == true)
        #expect(try found(["config.json", index]) == false)
        #expect(try found(["config.json", index] + parts.dropLast()) == false)
        #expect(try found(["config.json", index] + parts.dropLast(), gone: [parts[2]]) == false)
        #expect(try found(["config.json"], gone: ["model.safetensors"]) == false)
        #expect(try found(["model.safetensors"], gone: ["config.json"]) == false)
        #expect(try found([], gone: ["model.gguf"]) == false)
    }
}
