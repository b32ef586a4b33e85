internal import Nginx
internal import Settings
internal import Foundation

extension Doctor {
    /// Descriptors besides those of the exchanges: files, sockets of the engine, database.
    private static let otherDescriptors = 256

    /// Open files: one connection for each exchange.
    package func fileLimit() -> Finding {
        let name = "open files"
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return .skipped(name, systemMessage())
        }
        let needed = UInt(clamping: settings.server.maxConnections) + UInt(Self.otherDescriptors)
        guard UInt(limit.rlim_max) < needed else {
            return .ok(name, "needs \(needed), may have \(Self.text(limit.rlim_max))")
        }
        let found = "server.max_connections needs \(needed), the limit is \(limit.rlim_max)"
        // The unit has a limit of its own, which is not this shell's.
        guard !isProduction else {
            return .warning(name, "\(found) here", mend: "LimitNOFILE of the unit must be above it")
        }
        return .failure(name, found, mend: "ulimit -Hn \(needed), or lower server.max_connections")
    }

    private static func text(_ limit: rlim_t) -> String {
        limit > 1 << 40 ? "any number" : "\(limit)"
    }

    /// The folder of request bodies.
    package func spool() -> Finding {
        let name = "spool"
        let path = nginx.bodyDirectory
        let folder = FileFacts.nearest(path)
        var system = statvfs()
        guard statvfs(folder, &system) == 0 else {
            return .failure(name, "\(folder): \(systemMessage())", mend: "set nginx.body_dir")
        }
        let (product, isHuge) = system.f_bavail.multipliedReportingOverflow(by: system.f_frsize)
        let space = isHuge ? Int.max : Int(clamping: product)
        let needed = max(settings.limits.bodyBytes, 16 << 20)
        guard space >= needed else {
            return .failure(
                name,
                "\(readable(bytes: space)) free in \(folder), a body may need \(readable(bytes: needed))",
                mend: "free space, set nginx.body_dir elsewhere, or lower limits.body_bytes"
            )
        }
        // nginx's master makes the folder; it is root under systemd.
        guard FileFacts.isWritable(folder) || (isProduction && !isRoot) else {
            return .failure(
                name,
                "\(folder): \(systemMessage())",
                mend: "open it to the user that starts nginx, or set nginx.body_dir"
            )
        }
        let free = "\(readable(bytes: space)) free for \(path)"
        guard !isProduction || Self.isInMemory(folder) else {
            return .warning(
                name,
                "\(free), on a disk: prompts are written to it",
                mend: "set nginx.body_dir to a folder on tmpfs"
            )
        }
        return .ok(name, free)
    }

    private static func isInMemory(_ folder: String) -> Bool {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        let path = URL(fileURLWithPath: folder).resolvingSymlinksInPath().path
        return fileSystem(of: path, mounts: mounts) == "tmpfs"
    }

    /// The kind of the file system that a path lies on; of equal mount points the last counts.
    package static func fileSystem(of path: String, mounts: String) -> String? {
        var best = (length: -1, kind: String?.none)
        for line in mounts.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 2 else { continue }
            let point = words[1] == "/" ? "/" : words[1] + "/"
            guard (path + "/").hasPrefix(point), point.count >= best.length else { continue }
            best = (point.count, String(words[2]))
        }
        return best.kind
    }

    /// Free memory against the default model's weights, where they go to main memory.
    func memory() -> Finding {
        let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
        let isOnGPU = defaultDevice != "cpu" && FileFacts("/dev/nvidiactl") != nil
        return memory(meminfo: text, isOnGPU: isOnGPU)
    }

    package func memory(meminfo: String, isOnGPU: Bool) -> Finding {
        let name = "memory"
        guard !isOnGPU else { return .skipped(name, "the weights go to the GPU") }
        guard defaultEntry != nil, weightBytes > 0 else {
            return .skipped(name, "there is no default model")
        }
        guard let available = Self.bytes("MemAvailable", in: meminfo),
            let total = Self.bytes("MemTotal", in: meminfo)
        else { return .skipped(name, "/proc/meminfo says nothing") }
        let weights = readable(bytes: weightBytes)
        let found = "\(readable(bytes: available)) available of \(readable(bytes: total)), "
        let mend = "a smaller model, quantised weights, or more memory"
        guard weightBytes < total else {
            return .failure(name, found + "the weights have \(weights)", mend: mend)
        }
        // A fifth more for the KV cache and the step's activations.
        guard available / 6 >= weightBytes / 5 else {
            return .warning(
                name,
                found + "\(weights) of weights and their cache may not fit beside what runs",
                mend: "end other programs; or \(mend)"
            )
        }
        return .ok(name, found + "weights \(weights)")
    }

    static func bytes(_ field: String, in meminfo: String) -> Int? {
        let line = meminfo.split(separator: "\n").first { $0.hasPrefix("\(field):") }
        guard let words = line?.split(separator: " "), words.count > 1,
            let kilobytes = Int(words[1])
        else { return nil }
        return kilobytes.multipliedReportingOverflow(by: 1024).partialValue
    }

    /// Certificates and the ends of keys hang on the clock.
    func clock() -> Finding {
        clock(now: time(nil), built: FileFacts("/proc/self/exe")?.changed ?? 0)
    }

    package func clock(now: Int, built: Int) -> Finding {
        let name = "clock"
        let text = Date(timeIntervalSince1970: Double(now)).ISO8601Format()
        let mend = "set the clock (timedatectl set-ntp true)"
        guard now > built - 86_400 else {
            return .failure(name, "\(text) is before this program was made", mend: mend)
        }
        return .ok(name, text)
    }
}
