internal import Foundation

/// A system call that failed, with what was being done.
struct SystemError: Error, CustomStringConvertible {
    let description: String

    /// Adds the text of `errno`.
    init(_ doing: String) { description = "\(doing): \(String(cString: strerror(errno)))" }
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
