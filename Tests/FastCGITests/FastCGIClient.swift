import CLinux
import Glibc

/// The web server's side of a FastCGI connection, byte by byte (FastCGI specification 1.0).
final class FastCGIClient: Sendable {
    /// What came back for one request.
    struct Answer: Equatable {
        var head: [String] = []
        var body: [UInt8] = []
        /// Whether the end record came.
        var isWhole = false

        var status: String? {
            head.first { $0.hasPrefix("Status: ") }.map { String($0.dropFirst(8)) }
        }
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    private enum Kind: UInt8 { case begin = 1, abort, end, params, stdin, stdout }

    struct Trouble: Error { let what: String }

    private let fd: Int32

    /// Connects; reads and writes give up after ten seconds.
    init(path: String) throws {
        fd = tg_unix_connect(path)
        guard fd >= 0 else { throw Trouble(what: "connect: \(errno)") }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(fd) }

    /// Ends both directions, as a closed connection does.
    func hangUp() { shutdown(fd, Int32(SHUT_RDWR)) }
    /// Says that nothing more will be sent.
    func endSending() { shutdown(fd, Int32(SHUT_WR)) }

    // MARK: Sending

    private static func record(_ kind: Kind, _ content: [UInt8], padding: Int = 0) -> [UInt8] {
        [
            1, kind.rawValue, 0, 1, UInt8(content.count >> 8), UInt8(content.count & 255),
            UInt8(padding), 0,
        ]
            + content + [UInt8](repeating: 0, count: padding)
    }

    private static func stream(
        _ kind: Kind,
        _ bytes: [UInt8],
        padding: Int,
        recordBytes: Int = 32_000
    ) -> [UInt8] {
        var all: [UInt8] = []
        var at = 0
        while at < bytes.count {
            let end = min(bytes.count, at + recordBytes)
            all += record(kind, Array(bytes[at..<end]), padding: padding)
            at = end
        }
        return all + record(kind, [])
    }

    /// A whole request as nginx sends it.
    static func request(
        _ parameters: [(String, String)],
        body: [UInt8] = [],
        announced: Int? = nil,
        keeps: Bool = false,
        padding: Int = 0,
        recordBytes: Int = 32_000
    ) -> [UInt8] {
        var pairs: [UInt8] = []
        let length = [("CONTENT_LENGTH", String(announced ?? body.count))]
        let isAnnounced = parameters.contains { $0.0 == length[0].0 }
        for (name, value) in parameters + (isAnnounced ? [] : length) {
            for count in [name.utf8.count, value.utf8.count] {
                if count < 128 {
                    pairs.append(UInt8(count))
                } else {
                    pairs += [24, 16, 8, 0].map { UInt8(count >> $0 & 255) }
                    pairs[pairs.count - 4] |= 0x80
                }
            }
            pairs += name.utf8
            pairs += value.utf8
        }
        return record(.begin, [0, 1, keeps ? 1 : 0, 0, 0, 0, 0, 0])
            + stream(.params, pairs, padding: padding)
            + stream(.stdin, body, padding: padding, recordBytes: recordBytes)
    }

    /// Sends bytes as they are; false where the server has hung up.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var at = 0
        while at < bytes.count {
            let sent = bytes[at...].withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return false }
            at += sent
        }
        return true
    }

    // MARK: Receiving

    /// Exactly so many bytes, fewer at the end of the connection.
    private func receive(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var piece = [UInt8](repeating: 0, count: count - bytes.count)
            let got = recv(fd, &piece, piece.count, 0)
            guard got > 0 else { break }
            bytes += piece[..<got]
        }
        return bytes
    }

    /// Whether the server closed the connection without a further byte.
    func isAtEnd() -> Bool {
        var byte: UInt8 = 0
        let got = recv(fd, &byte, 1, 0)
        return got == 0 || (got < 0 && errno == ECONNRESET)
    }

    /// The next record; nil at the end of the connection.
    func record() -> (kind: UInt8, content: [UInt8])? {
        let header = receive(8)
        guard header.count == 8 else { return nil }
        let content = receive(Int(header[4]) << 8 | Int(header[5]))
        _ = receive(Int(header[6]))
        return (header[1], content)
    }

    /// One answer.
    func answer() -> Answer {
        var answer = Answer()
        var output: [UInt8] = []
        while let (kind, content) = record() {
            if kind == Kind.stdout.rawValue { output += content }
            if kind == Kind.end.rawValue {
                answer.isWhole = true
                break
            }
        }
        var lines: [UInt8] = []
        var rest = output[...]
        while let byte = rest.popFirst() {
            lines.append(byte)
            if lines.suffix(4) == [13, 10, 13, 10] { break }
        }
        answer.head = String(decoding: lines, as: UTF8.self)
            .split(whereSeparator: \.isNewline).map(String.init)
        answer.body = Array(rest)
        return answer
    }
}
