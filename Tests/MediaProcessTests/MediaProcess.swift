// The executable beside the tests, given one job the way a front does.

import CLinux
import Foundation
import JSON
import MediaLink

struct MediaProcess {
    struct Outcome {
        /// Nil where the process ended without a word.
        var reply: MediaReply?
        var pixels: [UInt8] = []
        /// Exit code, or 256 + signal.
        var status: Int32
        var seconds: Double
    }

    struct Failure: Error {}

    private let pid: pid_t
    private let socket: Int32

    static var executable: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: own).deletingLastPathComponent().appending(path: "torchgate-media")
            .path
    }

    init(_ options: [String] = []) throws {
        var pair: [Int32] = [-1, -1]
        guard tg_socketpair(&pair) == 0 else { throw Failure() }
        defer { close(pair[1]) }
        socket = pair[0]
        var words: [UnsafeMutablePointer<CChar>?] = ([Self.executable] + options).map { strdup($0) }
        defer { words.forEach { free($0) } }
        words.append(nil)
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        pid = tg_spawn(&words, &environment, pair[1], -1, 2, nil, 0, 0, SIGKILL)
        guard pid > 0 else { throw Failure() }
    }

    static func run(_ job: MediaJob, on bytes: [UInt8]) throws -> Outcome {
        try MediaProcess().run(job.message, input: bytes, room: job.outputBytes)
    }

    /// Sends a message as it is, with an input and an output of `room` bytes.
    func run(_ message: [UInt8], input: [UInt8], room: Int) throws -> Outcome {
        let fds = [tg_memfd("input"), tg_memfd("output")]
        defer { fds.forEach { close($0) } }
        guard write(fds[0], input, input.count) == input.count, ftruncate(fds[1], room) == 0,
            tg_send_fds(socket, message, message.count, fds, 2) == message.count
        else { throw Failure() }
        let start = tg_monotonic_ns()
        let answer = readAll()
        var outcome = Outcome(
            reply: nil,
            status: wait(),
            seconds: Double(tg_monotonic_ns() - start) / 1e9
        )
        guard answer.count > 4 else { return outcome }
        let reply = try MediaReply(json: try JSONValue.parse(answer.dropFirst(4)))
        outcome.reply = reply
        if case .success(let result) = reply {
            outcome.pixels = [UInt8](repeating: 0, count: result.bytes)
            guard pread(fds[1], &outcome.pixels, result.bytes, 0) == result.bytes else {
                throw Failure()
            }
        }
        return outcome
    }

    /// Closes the socket without a job, and waits.
    func leave() -> Int32 {
        shutdown(socket, Int32(SHUT_RDWR))
        return wait()
    }

    func wait() -> Int32 {
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        close(socket)
        return tg_wait_status(status)
    }

    private func readAll() -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(socket, &buffer, buffer.count)
            guard count > 0 else { return all }
            all += buffer.prefix(count)
        }
    }
}
