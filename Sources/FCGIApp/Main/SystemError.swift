internal import Foundation

/// A system call that failed, with what was being done.
struct SystemError: Error, CustomStringConvertible {
    let description: String

    /// Adds the text of `errno`.
    init(_ doing: String) { description = "\(doing): \(String(cString: strerror(errno)))" }
}

/// All bytes of a file, which may be a pipe or a device too.
func readFile(_ path: String) throws(SystemError) -> [UInt8] {
    guard let file = fopen(path, "re") else { throw SystemError("cannot read \(path)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while case let count = fread(&part, 1, part.count, file), count > 0 { bytes += part[..<count] }
    if ferror(file) != 0 { throw SystemError("cannot read \(path)") }
    return bytes
}

/// The path of this program.
func executablePath() -> String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        ?? CommandLine.arguments.first ?? "torchgate"
}
