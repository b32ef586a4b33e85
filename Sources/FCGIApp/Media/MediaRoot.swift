internal import CLinux
internal import Glibc

/// The folder of the operator's own media, read by relative names.
package struct MediaRoot: Sendable {
    /// Empty = files are not served.
    let path: String

    package init(path: String) { self.path = path }

    package static let sentence = "there is no such file, or it cannot be used"

    static func matches(_ text: String) -> Bool {
        text.utf8.prefix(5).map { $0 | 0x20 }.elementsEqual("file:".utf8)
    }

    /// The relative name in `file:NAME`; behind `file://` stands a host, which is none of ours.
    package static func name(in url: String) throws(MediaError) -> String {
        let name = url.dropFirst(5)
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard !name.isEmpty, name.utf8.count <= 1024, !name.utf8.contains(0),
            parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else {
            throw .invalid("write file:NAME, with the relative name of a file below the media root")
        }
        return String(name)
    }

    /// Opens a file of at most `most` bytes.
    ///
    /// Missing, forbidden and too large are one answer: it tells nothing about what is there.
    package func open(_ name: String, most: Int) throws(MediaError) -> EncodedBytes {
        guard !path.isEmpty else { throw .invalid("files are not served here") }
        let folder = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .invalid(Self.sentence) }
        defer { close(folder) }
        let descriptor = tg_open_beneath(folder, name)
        guard descriptor >= 0 else { throw .invalid(Self.sentence) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
            info.st_size <= most
        else {
            close(descriptor)
            throw .invalid(Self.sentence)
        }
        return EncodedBytes(descriptor: descriptor, count: Int(info.st_size))
    }
}
