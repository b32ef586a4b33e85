internal import Foundation

/// What the machine and this process have, as the kernel tells.
enum Memory {
    /// A field of a `/proc` file in bytes; 0 where it is missing.
    private static func field(_ name: String, in file: String) -> Int {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return 0 }
        for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
            let words = line.split(separator: " ")
            return words.count > 1 ? (Int(words[1]) ?? 0) * 1024 : 0
        }
        return 0
    }

    /// Memory that could be had without swapping, and without passing a limit of our control groups.
    static var availableBytes: Int {
        min(field("MemAvailable", in: "/proc/meminfo"), groupBytes ?? .max)
    }

    /// What the control group (version 2) and those above it leave; nil where none has a limit.
    private static var groupBytes: Int? {
        guard let own = try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8),
            let line = own.split(separator: "\n").first(where: { $0.hasPrefix("0::/") })
        else { return nil }
        func number(_ path: String) -> Int? {
            (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { text in
                Int(text.prefix { !$0.isWhitespace })
            }
        }
        var names = line.dropFirst(4).split(separator: "/")
        var least: Int?
        while true {
            let folder = "/sys/fs/cgroup/" + names.joined(separator: "/")
            if let limit = number("\(folder)/memory.max"),
                let used = number("\(folder)/memory.current")
            {
                least = min(least ?? .max, max(0, limit - used))
            }
            guard names.popLast() != nil else { return least }
        }
    }

    /// This process's resident memory.
    static var residentBytes: Int { field("VmRSS", in: "/proc/self/status") }
    /// Processors that this process may use.
    static var processors: Int { max(1, ProcessInfo.processInfo.activeProcessorCount) }

    /// Nanoseconds of the monotonic clock.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
