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

/// Lends the words as a null-terminated array of C strings.
func withCStrings<T>(_ words: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> T)
    -> T
{
    var pointers = words.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("the array ends with nil") }
        return body(base)
    }
}
