import Checkpoints
import Doctor
import Foundation
import JSON
import KeyStore
import NVML
import Settings
import Testing

@Suite struct CheckTests {
    private let patient: Patient

    init() throws { patient = try Patient() }

    @Test func `a state directory that others can write is a failure with chmod as its mend`() {
        #expect(patient.doctor.stateDirectory().result == .ok)
        chmod(patient.doctor.keys.state, 0o755)
        #expect(patient.doctor.stateDirectory().result == .warning)
        chmod(patient.doctor.keys.state, 0o777)
        let finding = patient.doctor.stateDirectory()
        #expect(finding.result == .failure)
        #expect(finding.mend == "chmod 700 \(patient.doctor.keys.state)")
    }

    @Test func `without a first key both pepper and keys say how to make one`() {
        for finding in [patient.doctor.pepper(), patient.doctor.keyDatabase()] {
            #expect(finding.result == .failure)
            #expect(finding.mend?.contains("torchgate keys create") == true)
        }
    }

    @Test func `a key's files pass, and fail when others may read them`() throws {
        try patient.makeKey()
        #expect(patient.doctor.pepper().result == .ok)
        #expect(patient.doctor.keyDatabase().result == .ok)
        chmod(patient.doctor.keys.pepper, 0o644)
        #expect(patient.doctor.pepper().mend == "chmod 400 \(patient.doctor.keys.pepper)")
        chmod(patient.doctor.keys.pepper, 0o400)
        chmod(patient.doctor.keys.database, 0o644)
        let finding = patient.doctor.keyDatabase()
        #expect(finding.result == .failure)
        #expect(finding.mend == "chmod go= \(patient.doctor.keys.database)")
    }

    @Test func `no finding holds the pepper`() throws {
        try patient.makeKey()
        let pepper = try String(contentsOfFile: patient.doctor.keys.pepper, encoding: .utf8)
        let secret = pepper.dropFirst(3).trimmingCharacters(in: .newlines)
        #expect(secret.count == 64)
        let report = Report(patient.doctor.examine())
        #expect(!report.text.contains(secret) && !report.json.text().contains(secret))
    }

    @Test func `the default model must be there, hold weights and be readable`() throws {
        #expect(patient.doctor.defaultModel().result == .ok)
        patient.doctor.readModel = { _ in "the tokeniser cannot be used" }
        #expect(patient.doctor.defaultModel().found.contains("the tokeniser cannot be used"))
        let entry = try #require(patient.doctor.models.first)
        patient.doctor.models = [
            CatalogEntry(
                id: entry.id,
                path: entry.path,
                created: entry.created,
                ownedBy: "user",
                hasWeights: false
            )
        ]
        #expect(patient.doctor.defaultModel().found.contains("no weights"))
        patient.doctor.settings.models.standard = "absent"
        let finding = patient.doctor.defaultModel()
        #expect(finding.result == .failure)
        #expect(finding.mend?.contains("name one of: tiny") == true)
    }

    @Test func `a default model that the engine would refuse is a failure with a mend`() throws {
        let model = "\(patient.folder)/models/tiny"
        let weights = URL(fileURLWithPath: "\(model)/model.safetensors")
        let whole = try Data(contentsOf: weights)
        func failure() -> String {
            let finding = patient.doctor.defaultModel()
            return finding.result == .failure && finding.mend != nil ? finding.found : ""
        }
        try patient.config(#"{"model_type": "gpt2"}"#)
        #expect(failure().contains("the architecture gpt2 is not supported; known: bdh, llama"))
        try patient.config(
            #"{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 3}"#
        )
        #expect(failure().contains("num_key_value_heads is 3, expected a divisor of 4"))
        try patient.config("junk")
        #expect(failure().contains("config.json"))
        try patient.config(#"{"model_type": "mistral", "num_attention_heads": 8}"#)
        #expect(patient.doctor.defaultModel().result == .ok)
        try whole.dropLast().write(to: weights)
        #expect(failure().contains("model.safetensors: "))
        try (Data([0, 0, 0, 0, 0, 0, 0, 0x80]) + whole.dropFirst(8)).write(to: weights)
        #expect(failure().contains("model.safetensors: "))
        try FileManager.default.removeItem(at: weights)
        try Data(#"{"weight_map": {"w": "part.safetensors"}}"#.utf8)
            .write(to: URL(fileURLWithPath: "\(model)/model.safetensors.index.json"))
        #expect(failure().contains("part.safetensors"))
        try whole.write(to: URL(fileURLWithPath: "\(model)/part.safetensors"))
        #expect(patient.doctor.defaultModel().result == .ok)
        patient.doctor.models = [
            CatalogEntry(
                id: "tiny",
                path: "\(patient.folder)/short.gguf",
                created: Date(timeIntervalSince1970: 0),
                ownedBy: "user",
                hasWeights: true
            )
        ]
        try Data("GGUF\u{3}\0\0\0".utf8)
            .write(to: URL(fileURLWithPath: "\(patient.folder)/short.gguf"))
        #expect(failure().contains("short.gguf: "))
    }

    @Test func `a model whose name cannot be an id is told of`() throws {
        #expect(patient.doctor.modelFolders().result == .ok)
        let folder = "\(patient.folder)/models"
        try FileManager.default.copyItem(atPath: "\(folder)/tiny", toPath: "\(folder)/my größe")
        let finding = patient.doctor.modelFolders()
        #expect(finding.result == .warning && finding.mend?.contains("rename") == true)
    }

    @Test func `an alias may be the default model`() {
        patient.doctor.settings.models.aliases = ["gpt": "tiny"]
        patient.doctor.settings.models.standard = "gpt"
        #expect(patient.doctor.defaultModel().result == .ok)
    }

    @Test func `a decoder must start, and its sandbox must end it`() throws {
        #expect(patient.doctor.mediaProgram().result == .ok)
        try patient.program(
            "echo the sandbox let socket pass >&2; exit 2",
            at: patient.doctor.media
        )
        let finding = patient.doctor.mediaProgram()
        #expect(finding.result == .failure)
        #expect(finding.found.contains("ended with 2: the sandbox let socket pass"))
        unlink(patient.doctor.media)
        #expect(patient.doctor.mediaProgram().mend?.contains("media.executable") == true)
    }

    @Test func `what NVML sees is said, and why it sees nothing`() throws {
        let absent = NVML(library: "libnvidia-ml-is-not-here.so.1")
        patient.doctor.settings.engine.device = "auto"
        #expect(patient.doctor.gpuMemory(absent).found.contains("libnvidia-ml-is-not-here.so.1"))
        patient.doctor.settings.engine.device = "cuda"
        #expect(patient.doctor.gpuMemory(absent).result == .warning)
        patient.doctor.settings.engine.device = "cpu"
        #expect(patient.doctor.gpuMemory(absent).result == .skipped)
    }

    @Test func `an engine must start and be of this version`() throws {
        #expect(patient.doctor.engineProgram().result == .ok)
        try patient.program("echo 1.2.4", at: patient.doctor.engine)
        #expect(patient.doctor.engineProgram().result == .warning)
        try patient.program("echo broken >&2; exit 127", at: patient.doctor.engine)
        #expect(patient.doctor.engineProgram().found.contains("ended with 127: broken"))
        try patient.program("touch \(patient.folder)/started", at: patient.doctor.engine)
        chmod(patient.doctor.engine, 0o777)
        #expect(patient.doctor.engineProgram().found.contains("written by all"))
        #expect(!FileManager.default.fileExists(atPath: "\(patient.folder)/started"))
        chmod(patient.doctor.engine, 0o644)
        #expect(patient.doctor.engineProgram().mend == "chmod 755 \(patient.doctor.engine)")
    }

    @Test func `a GPU is a failure only where it is demanded`() {
        let devices = patient.folder
        #expect(patient.doctor.gpu(devices: devices, cuda: "none.so").result == .ok)
        patient.doctor.settings.engine.device = "cuda"
        #expect(patient.doctor.gpu(devices: devices, cuda: "none.so").result == .failure)
        for name in ["nvidiactl", "nvidia0"] {
            FileManager.default.createFile(atPath: "\(devices)/\(name)", contents: nil)
        }
        let finding = patient.doctor.gpu(devices: devices, cuda: "none.so")
        #expect(finding.result == .failure && finding.found.contains("none.so"))
        patient.doctor.settings.engine.device = "auto"
        #expect(patient.doctor.gpu(devices: devices, cuda: "none.so").result == .warning)
    }

    @Test func `memory is held against the weights`() {
        func result(available: Int, total: Int) -> Finding.Result {
            let text = "MemTotal: \(total) kB\nMemAvailable: \(available) kB\n"
            return patient.doctor.memory(meminfo: text, isOnGPU: false).result
        }
        #expect(result(available: 100, total: 100) == .ok)
        #expect(result(available: 1, total: 100) == .warning)
        #expect(result(available: 0, total: 0) == .failure)
        #expect(patient.doctor.memory(meminfo: "", isOnGPU: false).result == .skipped)
        #expect(patient.doctor.memory(meminfo: "", isOnGPU: true).result == .skipped)
    }

    @Test func `a clock before the program's making is wrong`() {
        #expect(patient.doctor.clock(now: 1_700_000_000, built: 1_700_000_100).result == .ok)
        #expect(patient.doctor.clock(now: 1_600_000_000, built: 1_700_000_000).result == .failure)
    }

    @Test func `a file system is that of the longest mount point`() {
        let mounts = "/dev/sda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\next /run/a ext4 rw 0 0\n"
        #expect(Doctor.fileSystem(of: "/run/torchgate", mounts: mounts) == "tmpfs")
        #expect(Doctor.fileSystem(of: "/running", mounts: mounts) == "ext4")
        #expect(Doctor.fileSystem(of: "/run/a", mounts: mounts) == "ext4")
    }
}
