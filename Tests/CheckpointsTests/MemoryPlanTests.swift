import Checkpoints
import Foundation
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
        writer.tensor("token_embd.weight", [32, 2], type: 8, [UInt8](repeating: 0, count: 68))
        let checkpoint = try Bench().open(gguf: writer.file())
        let kept = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .stored)
        let dense = MemoryPlan(of: checkpoint, dtype: "bfloat16", form: .dense)
        #expect(kept.weightBytes == 68 && dense.weightBytes == 128 && dense.storedBytes == 68)
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
