internal import Foundation
internal import Models
internal import Torch

/// The library that computes on a GPU, and where to find it.
public struct DeviceLibrary: Sendable {
    private let path: String
    private let needsDriver: Bool
    private let cache: String?

    /// The one beside this program, as it is installed or in its build tree; `environment`: the process's.
    ///
    /// `TORCHGATE_DEVICE_LIBRARY` names another one that runs without a driver: a hook for tests.
    public init(environment: [String: String]) {
        let folders = [
            "CACHE_DIRECTORY": "", "XDG_CACHE_HOME": "/torchgate", "HOME": "/.cache/torchgate",
        ]
        let names = ["CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"]
        let name = names.first { environment[$0].map { $0.hasPrefix("/") } ?? false }
        cache = name.map { (environment[$0] ?? "") + (folders[$0] ?? "") + "/kernels" }
        if let path = environment["TORCHGATE_DEVICE_LIBRARY"] {
            self.path = path
            needsDriver = false
            return
        }
        needsDriver = true
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let folder = URL(filePath: own).deletingLastPathComponent()
        let file = "libtorchgate_cuda.so"
        // PREFIX/bin and PREFIX/lib/torchgate; .build/PLATFORM/release and .build/cuda.
        let places = ["../lib/torchgate/\(file)", "../../cuda/\(file)"]
            .map { folder.appending(path: $0).standardizedFileURL.path }
        path = places.first { FileManager.default.fileExists(atPath: $0) } ?? places[0]
    }

    /// Starts the device for this thread where `wish` (`auto`, `cpu`, `cuda`) and the machine allow it.
    ///
    /// `nil` where it computes there now, else the sentence why not. Before the first tensor.
    /// - Throws: `ModelError.device` where the wish was `cuda`, or is no such word.
    func start(_ wish: String) throws -> String? {
        switch wish {
        case "cpu": return "the device is set to cpu"
        case "auto", "cuda", "cuda:0":
            let refusal = Device.start(library: path, needsDriver: needsDriver, cache: cache)
            guard let refusal else {
                Device.use(true)
                return nil
            }
            guard wish == "auto" else { throw ModelError.device(refusal) }
            return refusal
        default: throw ModelError.device("there is no device \(wish); known: cpu, cuda, cuda:0")
        }
    }
}
