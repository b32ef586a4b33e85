internal import Glibc

/// What the machine has for a model, as the kernel tells.
public enum MachineMemory {
    /// Memory that could be had without swapping, and without passing a limit of our control groups.
    public static var availableBytes: Int {
        let machine = field("MemAvailable", in: text("/proc/meminfo") ?? "") ?? 0
        return min(machine, groupBytes { max(0, $0 - $1) } ?? .max)
    }

    /// All memory that the machine has, or that our control groups may use.
    public static var totalBytes: Int {
        let machine = field("MemTotal", in: text("/proc/meminfo") ?? "") ?? 0
        return min(machine, groupBytes { limit, _ in limit } ?? .max)
    }

    /// Whether this processor multiplies bfloat16 itself, so that `auto` means that.
    public static var multipliesBFloat16: Bool {
        let flags = (text("/proc/cpuinfo") ?? "").split(separator: "\n")
            .first { $0.hasPrefix("flags") }
        return flags?.split(separator: " ").contains("avx512_bf16") ?? false
    }

    private static func text(_ path: String) -> String? {
        // Files of /proc and /sys have no size of their own.
        let fd = open(path, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return nil }
        defer { close(fd) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < 1 << 22 {
            let count = read(fd, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `Name:   123 kB` in bytes.
    private static func field(_ name: String, in text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
            let words = line.split(separator: " ")
            return words.count > 1 ? Int(words[1]).map { $0 * 1024 } : nil
        }
        return nil
    }

    /// The least of a number of limit and use of the control group (version 2) and those above it; nil
    /// where none has a limit.
    private static func groupBytes(_ number: (_ limit: Int, _ used: Int) -> Int) -> Int? {
        guard let own = text("/proc/self/cgroup"),
            let line = own.split(separator: "\n").first(where: { $0.hasPrefix("0::/") })
        else { return nil }
        func content(_ path: String) -> Int? {
            text(path).flatMap { Int($0.prefix { !$0.isWhitespace }) }
        }
        var names = line.dropFirst(4).split(separator: "/")
        var least: Int?
        while true {
            let folder = "/sys/fs/cgroup/" + names.joined(separator: "/")
            if let limit = content("\(folder)/memory.max"),
                let used = content("\(folder)/memory.current")
            {
                least = min(least ?? .max, number(limit, used))
            }
            guard names.popLast() != nil else { return least }
        }
    }
}
