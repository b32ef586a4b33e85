import Foundation
import Glibc
import Synchronization

/// A state directory of a test's own; all end with the process, because a store follows its folder
/// longer than the last mention of this value.
final class TemporaryState: Sendable {
    private static let root: String = {
        atexit { try? FileManager.default.removeItem(atPath: TemporaryState.root) }
        let path = NSTemporaryDirectory() + "/admincli-tests-\(getpid())"
        mkdir(path, 0o755)
        return path
    }()
    let path: String

    init() throws {
        path = Self.root + "/" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700]
        )
    }
}

/// The tool built beside the tests, run as a process of its own.
final class ToolProcess {
    /// `keys-tool`, in the folder of the test runner.
    static var path: String {
        let runner =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: runner).deletingLastPathComponent().path + "/keys-tool"
    }

    let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let errors = Pipe()
    private var buffered = Data()

    /// Starts the tool; `prefix` is a command that runs it, such as `setpriv`.
    init(_ arguments: [String], prefix: [String] = [], environment: [String: String] = [:]) throws {
        signal(SIGPIPE, SIG_IGN)
        let command = prefix + [Self.path] + arguments
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = input
        process.standardOutput = output
        process.standardError = errors
        try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    func send(_ line: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Next line of standard output; `nil` at its end.
    func line() -> String? {
        while true {
            if let end = buffered.firstIndex(of: 0x0A) {
                let line = String(decoding: buffered[..<end], as: UTF8.self)
                buffered = Data(buffered[(end + 1)...])
                return line
            }
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { return nil }
            buffered += more
        }
    }

    /// Waits for the end.
    func finish() throws -> (status: Int32, output: String, errors: String) {
        try input.fileHandleForWriting.close()
        var text = ""
        while let line = line() { text += line + "\n" }
        let complaint = try errors.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, text, String(decoding: complaint, as: UTF8.self))
    }

    /// Runs `keys …` to its end.
    static func keys(
        _ arguments: [String],
        in state: TemporaryState
    ) throws -> (status: Int32, output: String, errors: String) {
        try ToolProcess(["keys"] + arguments, environment: ["TORCHGATE_STATE_DIR": state.path])
            .finish()
    }
}
