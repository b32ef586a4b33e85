internal import Foundation

/// Words that nginx's files take from outside: what could end a directive there is refused here.
enum NginxText {
    /// An IPv4 or IPv6 address, the latter without brackets, or a host name.
    static func address(_ text: String) throws(RawError) -> String {
        let isBracketed = text.hasPrefix("[") && text.hasSuffix("]") && text.utf8.count > 2
        let bare = isBracketed ? String(text.dropFirst().dropLast()) : text
        if isAddress(bare, AF_INET6) { return bare }
        if !isBracketed, isAddress(text, AF_INET) || (isName(text) && !isNumeric(text)) {
            return text
        }
        throw RawError(
            problem: "expected an address such as 0.0.0.0, 127.0.0.1, :: or ::1, or a host name"
        )
    }

    /// A host name, or `_` for any.
    static func name(_ text: String) throws(RawError) -> String {
        if text == "_" || isName(text) { return text }
        throw RawError(problem: "expected one host name such as llm.example.com, or _ for any")
    }

    /// A user of the system.
    static func user(_ text: String) throws(RawError) -> String {
        guard !text.isEmpty, !text.hasPrefix("-"),
            text.utf8.allSatisfy({ isWord($0) || [0x2D, 0x2E, 0x5F].contains($0) })
        else { throw RawError(problem: "expected a user name") }
        return text
    }

    /// A file or folder; nginx has no way to write some characters in each place where a path stands.
    static func file(_ text: String) throws(RawError) -> String {
        if text.isEmpty { throw RawError(problem: "expected a path") }
        return try fileOrNone(text)
    }

    /// A file or folder, or nothing.
    static func fileOrNone(_ text: String) throws(RawError) -> String {
        if let problem = Settings.problem(ofPath: text) { throw RawError(problem: problem) }
        return text
    }

    private static func isAddress(_ text: String, _ family: Int32) -> Bool {
        var space = in6_addr()
        return inet_pton(family, text, &space) == 1
    }

    /// Labels of letters, digits and inner hyphens.
    private static func isName(_ text: String) -> Bool {
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        return text.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.utf8.count) && !label.hasPrefix("-")
                    && !label.hasSuffix("-")
                    && label.utf8.allSatisfy { isWord($0) || $0 == 0x2D || $0 == 0x5F }
            } && text != "_"
    }

    /// Digits and dots only: a wrong address, not a name.
    private static func isNumeric(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}

extension Settings {
    /// Why nginx cannot be told of this path, or nil.
    public static func problem(ofPath path: String) -> String? {
        let refused = Array("\"'\\$*?[".utf8)
        guard path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F || refused.contains($0) }) else {
            return nil
        }
        return "a path here may not contain quotes, \\, $, *, ?, [ or control characters"
    }
}
