import Checkpoints
import Foundation
import Glibc
import JSON
import Glibc
import JSON
import Testing

@Suite struct MemoryPlanTests {
    static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/models").path

    func plan(_ name: String, dtype: String = "float32") throws -> MemoryPlan {
        try MemoryPlan(
            of: Checkpoint(opening: "\(Self.fixtures)/\(name)"),
            dtype: dtype,
            form: .dense
        )
    }

    @Test func `weights and cache of a model follow from its headers`() throws {
        let checkpoint = try Checkpoint(opening: "\(Self.fixtures)/qwen3")
        let full = try plan("qwen3")
        let half = try plan("qwen3", dtype: "bfloat16")
        #expect(full.weightBytes == checkpoint.totalBytes && full.storedBytes == full.weightBytes)
        #expect(half.weightBytes * 2 == full.weightBytes)
        // 2 layers, 2 key-value heads of 16, keys and values, 4 bytes
        #expect(full.stateBytesPerToken == 2 * 2 * 16 * 2 * 4)
        #expect(half.stateBytesPerToken * 2 == full.stateBytesPerToken)
        #expect(full.state(tokens: 1000) == 1000 * full.stateBytesPerToken)
        #expect(full.state(tokens: .max) > 1 << 60)
    }

    @Test func `quantised weights count as stored only where they stay so`() throws {
        var writer = GGUFWriter()
        writer.key("general.architecture", "llama")
        writer.tensor("blk.0.attn_q.weight", [32, 2], type: 8, [UInt8](repeating: 0, count: 68))
        let checkpoint = try Bench().open(gguf: writer.file())
        let kept = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .stored)
        let dense = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .dense)
        // Rows lie in tiles of 16, in whole lines of 64 bytes.
        #expect(kept.weightBytes == 576 && kept.weights == "q8_0")
        #expect(dense.weightBytes == 128 && dense.weights == "bfloat16" && dense.storedBytes == 68)
    }

    @Test func `empty codes are planned, and refused by who loads them`() throws {
        let header =
            #"{"q.g_idx":{"dtype":"I32","shape":[8],"data_offsets":[0,32]},"#
            + #""q.qweight":{"dtype":"I32","shape":[0,8],"data_offsets":[32,32]}}"#
        let config = #"{"quantization_config":{"quant_method":"gptq","group_size":-1}}"#
        let checkpoint = try Bench().open(weights: safetensors(header, data: 32), config: config)
        #expect(MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .stored).weightBytes == 0)
    }

    /// Qwen2.5-14B-Instruct: its config, and a file of its shapes that holds nothing.
    private func fourteenBillion(_ more: String = "") throws -> (Bench, Checkpoint) {
        let (d, i, v, kv) = (5120, 13_824, 152_064, 1024)
        var shapes = ["model.embed_tokens.weight": [v, d], "lm_head.weight": [v, d]]
        shapes["model.norm.weight"] = [d]
        for layer in 0..<48 {
            let prefix = "model.layers.\(layer)"
            for (name, rows) in [("q", d), ("k", kv), ("v", kv)] {
                shapes["\(prefix).self_attn.\(name)_proj.weight"] = [rows, d]
                shapes["\(prefix).self_attn.\(name)_proj.bias"] = [rows]
            }
            shapes["\(prefix).self_attn.o_proj.weight"] = [d, d]
            shapes["\(prefix).mlp.gate_proj.weight"] = [i, d]
            shapes["\(prefix).mlp.up_proj.weight"] = [i, d]
            shapes["\(prefix).mlp.down_proj.weight"] = [d, i]
            shapes["\(prefix).input_layernorm.weight"] = [d]
            shapes["\(prefix).post_attention_layernorm.weight"] = [d]
        }
        var end = 0
        let entries = shapes.sorted { $0.key < $1.key }.map { name, shape in
            let place = "[\(end),\(end + shape.reduce(2, *))]"
            end += shape.reduce(2, *)
            return #""\#(name)":{"dtype":"BF16","shape":\#(shape),"data_offsets":\#(place)}"#
        }
        let bench = try Bench()
        let start = safetensors("{\(entries.joined(separator: ","))}", data: 0)
        let path = try bench.write("model.safetensors", start)
        try #require(truncate(path, start.count + end) == 0)
        let config =
            #"{\#(more)"model_type":"qwen2","hidden_size":5120,"intermediate_size":13824,"#
            + #""num_hidden_layers":48,"num_attention_heads":40,"num_key_value_heads":8,"#
            + #""max_position_embeddings":32768,"vocab_size":152064,"tie_word_embeddings":false}"#
        try bench.write("config.json", config)
        return (bench, try Checkpoint(opening: bench.path))
    }

    @Test func `a model of 14 billion weights needs less than 10.5 GB at nf4`() throws {
        let (bench, checkpoint) = try fourteenBillion()
        defer { withExtendedLifetime(bench) {} }
        func least(_ word: String) throws -> Double {
            let form = try #require(WeightForm(dtype: "auto", quantize: word))
            return Double(MemoryPlan(of: checkpoint, dtype: "bfloat16", form: form).least()) / 1e9
        }
        #expect(try least("nf4") < 10.5 && least("nf4") > 9.5)
        #expect(try least("int4") < 11 && least("int8") > 15 && least("int8") < 17)
        #expect(try least("none") > 29.5)
    }

    @Test(arguments: [
        (#""quant_method":"fp8","modules_to_not_convert":["layers.47.mlp"]"#, 300...310),
        (#""quant_method":"fp8","modules_to_not_convert":["lm_head","layers.4"]"#, 390...400),
        (#""quant_method":"fp8","ignored_layers":["layers.47.mlp"]"#, 300...310),
        (#""load_in_4bit":true,"llm_int8_skip_modules":["q_proj","ayers"]"#, 2500...2600),
        (#""quant_method":"fp8","modules_to_not_convert":["lm_head"]"#, 0...0),
    ])
    func `what a checkpoint's writer wants left as floats stays so`(
        _ words: String,
        _ megabytes: ClosedRange<Int>
    ) throws {
        func weights(_ more: String) throws -> Int {
            let (bench, checkpoint) = try fourteenBillion(more)
            defer { withExtendedLifetime(bench) {} }
            let plan = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .quantised(.nf4))
            #expect(plan.weights == "nf4")
            return plan.weightBytes
        }
        let more = try weights(#""quantization_config":{\#(words)},"#) - weights("")
        #expect(megabytes.contains(more / 1_000_000), "\(more)")
    }

    @Test func `what cannot fit is refused with both numbers`() throws {
        let plan = try plan("qwen2")
        let least = plan.least()
        try plan.check(available: least)
        #expect(throws: MemoryPlan.Shortage(needed: least, available: least - 1)) {
            try plan.check(available: least - 1)
        }
        let shortage = MemoryPlan.Shortage(needed: 29 << 30, available: 3 << 29)
        #expect(shortage.description.contains("29.0 GiB") && "\(shortage)".contains("1.5 GiB"))
        #expect(plan.slots(context: 1000, available: 0) == 0)
        let room = 2_000_000 + plan.weightBytes + MemoryPlan.engineBytes + MemoryPlan.spareBytes
        #expect(plan.cacheBytes(available: room) == 1_000_000)
        #expect(
            plan.slots(context: 100, available: room)
                == 1_000_000 / (100 * plan.stateBytesPerToken)
        )
    }

    @Test func `this machine has some memory`() {
        #expect(MachineMemory.availableBytes > 1 << 20)
    }

    @Test func `repositories have the bytes of their files, links count once`() throws {
        let bench = try Bench()
        try bench.write("models/mine/config.json", #"{"model_type":"llama"}"#)
        try bench.write("models/mine/model.safetensors", [UInt8](repeating: 0, count: 1000))
        try bench.write("models/one.gguf", [UInt8](repeating: 0, count: 77))
        let repository = "hf/hub/models--org--name"
        try bench.write("\(repository)/blobs/a", [UInt8](repeating: 0, count: 500))
        try bench.write("\(repository)/snapshots/1/config.json", "{}")
        try FileManager.default.createSymbolicLink(
            atPath: "\(bench.path)/\(repository)/snapshots/1/model.safetensors",
            withDestinationPath: "../../blobs/a"
        )
        try FileManager.default.createSymbolicLink(
            atPath: "\(bench.path)/models/other",
            withDestinationPath: "mine"
        )
        try bench.write("hf/hub/datasets--org--texts/blobs/b", [1, 2, 3])
        let models = ModelCatalog.scan(
            directories: ["\(bench.path)/models"],
            huggingFaceHome: "\(bench.path)/hf"
        )
        let list = CachedRepository.list(models, huggingFaceHome: "\(bench.path)/hf")
        let expected = [
            ("mine", 1022), ("one", 77), ("org/name", 502), ("other", 1022), ("org/texts", 3),
        ]
        #expect(list.map(\.id) == expected.map(\.0) && list.map(\.bytes) == expected.map(\.1))
        #expect(list.map(\.kind) == ["model", "model", "model", "model", "dataset"])
    }
}
