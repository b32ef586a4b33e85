import Checkpoints
import Doctor
import Foundation
import JSON
import KeyStore
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

    @Test func `an alias may be the default model`() {
        patient.doctor.settings.models.aliases = ["gpt": "tiny"]
        patient.doctor.settings.models.standard = "gpt"
        #expect(patient.doctor.defaultModel().result == .ok)
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
