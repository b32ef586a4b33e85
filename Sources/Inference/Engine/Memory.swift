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
