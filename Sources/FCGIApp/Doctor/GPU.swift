internal import Settings
internal import Checkpoints
internal import Foundation
package import NVML

extension Doctor {
    /// Devices, the driver's libraries, and what NVML sees.
    ///
    /// CUDA is not initialised: a doctor must not take GPU memory.
    func gpu() -> [Finding] {
        [gpu(devices: "/dev", cuda: "libcuda.so.1"), gpuMemory(NVML(patience: 5))]
    }

    /// What the server's /vram_status and its log of unloads rest on.
    package func gpuMemory(_ nvml: NVML) -> Finding {
        let name = "GPU memory"
        if defaultDevice == "cpu" { return .skipped(name, "not wanted: the device is cpu") }
        switch nvml.read() {
        case .gpus(let gpus):
            let words = gpus.map { gpu in
                "\(gpu.name), \(readable(bytes: gpu.freeBytes)) free of \(readable(bytes: gpu.totalBytes))"
            }
            return .ok(name, words.joined(separator: "; "))
        case .nothing(let reason):
            let found = "NVML sees no GPU: \(reason)"
            guard defaultDevice == "cuda" || FileFacts("/dev/nvidiactl") != nil else {
                return .ok(name, found)
            }
            return .warning(
                name,
                "\(found); /vram_status will lack the GPU's size and what is free",
                mend:
                    "install the driver's libraries (libnvidia-ml1) for its version; nvidia-smi must work"
            )
        }
    }

    package func gpu(devices: String, cuda: String) -> Finding {
        let name = "GPU"
        let device = defaultDevice
        if device == "cpu" { return .ok(name, "not wanted: the device is cpu") }
        let isDemanded = device == "cuda"
        func trouble(_ found: String, mend: String) -> Finding {
            Finding(name, isDemanded ? .failure : .warning, found, mend: mend)
        }
        let control = "\(devices)/nvidiactl"
        guard FileFacts(control) != nil else {
            guard isDemanded else { return .ok(name, "no GPU: the engine will use the CPU") }
            return .failure(
                name,
                "the device is cuda, but there is no \(control)",
                mend: "install NVIDIA's driver and make its nodes (nvidia-modprobe -c0 -u), "
                    + "or set engine.device to auto"
            )
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: devices)) ?? []
        let cards = names.filter { $0.hasPrefix("nvidia") && Int($0.dropFirst(6)) != nil }
        guard !cards.isEmpty else {
            return trouble("\(control) is there, but no card", mend: "nvidia-modprobe -c0 -u")
        }
        for node in [control] + cards.sorted().map({ "\(devices)/\($0)" })
        where access(node, R_OK | W_OK) != 0 {
            return trouble(
                "\(node): \(systemMessage())",
                mend: "put the engine's user into the group that owns it (video)"
            )
        }
        if let problem = Self.problem(of: cuda, "cuInit") {
            return trouble(problem, mend: "install the driver's libraries for its version")
        }
        return .ok(name, "\(cards.count) of them; libcuda is found")
    }

    /// The device of the default model.
    var defaultDevice: String {
        defaultEntry.flatMap { settings.models.settings[$0.id]?.device } ?? settings.engine.device
    }

    private static func problem(of library: String, _ symbol: String) -> String? {
        guard let handle = dlopen(library, RTLD_NOW | RTLD_LOCAL) else {
            return dlerror().map { String(cString: $0) } ?? "\(library) cannot be loaded"
        }
        defer { dlclose(handle) }
        return dlsym(handle, symbol) == nil ? "\(library) lacks \(symbol)" : nil
    }
}
