import Glibc

/// A command that could not do its work; the process exits with 1.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Standard output and standard error; a text that cannot be written whole is an error.
enum Output {
    static func write(_ text: String) throws {
        guard writeAll(text, to: STDOUT_FILENO) else {
            throw CommandFailure(
                "cannot write to standard output: \(String(cString: strerror(errno)))"
            )
        }
    }

    static func notice(_ text: String) {
        _ = writeAll(text + "\n", to: STDERR_FILENO)
    }

    private static func writeAll(_ text: String, to descriptor: Int32) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
