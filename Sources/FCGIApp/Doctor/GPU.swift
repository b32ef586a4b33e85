internal import Settings
internal import Checkpoints
internal import Foundation

extension Doctor {
    /// Devices and the driver's libraries.
    ///
    /// Nothing is initialised: a doctor must not take GPU memory, nor wake a GPU.
    func gpu() -> [Finding] { [gpu(devices: "/dev", cuda: "libcuda.so.1")] }

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
        for (library, symbol) in [(cuda, "cuInit"), ("libnvidia-ml.so.1", "nvmlInit_v2")] {
            if let problem = Self.problem(of: library, symbol) {
                return trouble(problem, mend: "install the driver's libraries for its version")
            }
        }
        return .ok(name, "\(cards.count) of them; libcuda and NVML are found")
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
