internal import CLinux
internal import Foundation
internal import Spawn

/// A program run to its end, with its output.
struct ChildProgram {
    /// Exit code, or 256 + signal.
    let status: Int
    /// Standard output and error together, at most 64 KiB.
    let output: String
    /// Whether it was ended for taking too long.
    let isLate: Bool

    /// Runs a program without standard input; nil where it cannot be started.
    ///
    /// The output goes to memory, not to a pipe: a program that says much never waits for us.
    static func run(_ words: [String], seconds: Double) -> ChildProgram? {
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let memory = tg_memfd("doctor")
        defer {
            close(null)
            close(memory)
        }
        guard null >= 0, memory >= 0 else { return nil }
        let variables = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
        let pid = Spawn.start(
            words,
            environment: variables,
            streams: .init(input: null, output: memory, error: memory),
            parentDeathSignal: SIGKILL
        )
        guard let pid else { return nil }
        let end = tg_monotonic_ns() + UInt64(seconds * 1e9)
        var status: Int32 = 0
        var isLate = false
        while true {
            let done = waitpid(pid, &status, WNOHANG)
            if done == pid || (done < 0 && errno != EINTR) { break }
            if !isLate, tg_monotonic_ns() > end {
                isLate = true
                kill(pid, SIGKILL)
            }
            usleep(2000)
        }
        return ChildProgram(
            status: Int(tg_wait_status(status)),
            output: contents(of: memory),
            isLate: isLate
        )
    }

    /// The first line that holds a word.
    func line(with word: String) -> String? {
        output.split(separator: "\n").first { $0.contains(word) }.map {
            $0.trimmingCharacters(in: .whitespaces)
        }
    }

    private static func contents(of memory: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = bytes.withUnsafeMutableBytes { pread(memory, $0.baseAddress, $0.count, 0) }
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
