import Checkpoints
import Doctor
import Foundation
import KeyStore
import Nginx
import Settings

/// A machine in a folder of its own, with nothing wrong.
final class Patient {
    let folder: String
    var doctor: Doctor

    init() throws {
        let manager = FileManager.default
        folder = "\(NSTemporaryDirectory())/doctor-\(UUID().uuidString.prefix(8))"
        let model = "\(folder)/models/tiny"
        for path in [folder, "\(folder)/state", "\(folder)/models", model] {
            try manager.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        }
        let config = #"{"model_type": "llama", "num_attention_heads": 4}"#
        try Data(config.utf8).write(to: URL(fileURLWithPath: "\(model)/config.json"))
        var weights = SafetensorsWriter()
        weights.add("w", .float32, shape: [250], [Float](repeating: 0, count: 250))
        try weights.data().write(to: URL(fileURLWithPath: "\(model)/model.safetensors"))
        var settings = Settings()
        settings.server.mode = .development
        settings.stateDirectory = "\(folder)/state"
        settings.runDirectory = folder
        settings.models.directories = ["\(folder)/models"]
        settings.models.standard = "tiny"
        var nginx = NginxConfiguration()
        nginx.bodyDirectory = "\(folder)/body"
        let engine = "\(folder)/engine"
        doctor = Doctor(
            settings: settings,
            nginx: nginx,
            keys: StateFiles(state: settings.stateDirectory),
            engine: engine,
            media: "\(folder)/media",
            version: "1.2.3",
            models: ModelCatalog.scan(
                directories: settings.models.directories,
                huggingFaceHome: nil
            ),
            readModel: { _ in nil }
        )
        try program("echo 1.2.3", at: engine)
        try program("kill -SYS $$", at: doctor.media)
    }

    /// Writes the model's config.json.
    func config(_ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/models/tiny/config.json"))
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Writes a shell script that can be executed.
    func program(_ text: String, at path: String) throws {
        try Data("#!/bin/sh\n\(text)\n".utf8).write(to: URL(fileURLWithPath: path))
        chmod(path, 0o755)
    }

    func makeKey() throws {
        _ = try KeyAdministration.open(doctor.keys, create: true).create(KeySettings(name: "test"))
    }
}
