internal import CLinux
internal import Glibc

/// A FastCGI peer that speaks bytes, so that tests can also send what nginx never would.
///
/// One connection; used by one thread. Reads give up after `timeout` seconds.
public final class FastCGIClient {
    /// Kinds of records.
    public enum Kind: UInt8, Sendable {
        case begin = 1, abort, end, parameters, input, output, errors
    }

    /// One record from the server.
    public struct Record: Sendable {
        /// What it is; nil = a number of no known kind.
        public let kind: Kind?
        /// Its content without padding.
        public let content: [UInt8]
    }

    /// A whole answer.
    public struct Reply: Sendable {
        /// All of standard output, head included.
        public var output: [UInt8] = []
        /// Whether the end record came.
        public var isEnded = false

        /// The head's lines and the body as text.
        public var text: String { String(decoding: output, as: UTF8.self) }
        /// The number after `Status:`.
        public var status: Int? { header("Status").flatMap { Int($0.prefix(3)) } }
        /// What follows the empty line.
        public var body: [UInt8] {
            let bytes = output
            guard bytes.count >= 4 else { return [] }
            for start in 0...(bytes.count - 4) where bytes[start..<start + 4] == [13, 10, 13, 10] {
                return Array(bytes[(start + 4)...])
            }
            return []
        }

        /// The head's lines.
        public var head: [String] {
            text.split(separator: "\r\n\r\n", maxSplits: 1).first?.split(separator: "\r\n")
                .map(String.init) ?? []
        }

        /// The value of the first header with this name.
        public func header(_ name: String) -> String? {
            head.first { $0.lowercased().hasPrefix(name.lowercased() + ": ") }
                .map { String($0.dropFirst(name.utf8.count + 2)) }
        }
    }

    /// The connection's descriptor.
    public let socket: Int32
    private let timeout: Double

    /// Connects; nil where nobody listens.
    public init?(path: String, timeout: Double = 5) {
        socket = tg_unix_connect(path)
        self.timeout = timeout
        guard socket >= 0 else { return nil }
    }

    deinit { Glibc.close(socket) }

    /// Ends our side of the connection; `deinit` closes it.
    public func leave() { shutdown(socket, Int32(SHUT_RDWR)) }

    // MARK: Sending

    /// Sends bytes as they are; false where the server has closed.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    /// Sends one record, at most 65,535 bytes of content.
    @discardableResult
    public func send(_ kind: Kind, _ content: [UInt8] = [], version: UInt8 = 1) -> Bool {
        let length = UInt16(truncatingIfNeeded: content.count)
        let head: [UInt8] = [
            version, kind.rawValue, 0, 1, UInt8(length >> 8), UInt8(length & 255), 0, 0,
        ]
        return send(head + content)
    }

    /// Begins a request with its parameters and their end.
    public func begin(_ parameters: [(String, String)], keep: Bool = false, role: UInt8 = 1) {
        send(.begin, [0, role, keep ? 1 : 0, 0, 0, 0, 0, 0])
        let bytes = Self.encode(parameters)
        for start in stride(from: 0, to: bytes.count, by: 32_000) {
            send(.parameters, Array(bytes[start..<min(bytes.count, start + 32_000)]))
        }
        send(.parameters)
    }

    /// Sends a body in records of `size` bytes, and its end.
    public func body(_ bytes: [UInt8], size: Int = 32_768) {
        for start in stride(from: 0, to: bytes.count, by: size) {
            guard send(.input, Array(bytes[start..<min(bytes.count, start + size)])) else { return }
        }
        send(.input)
    }

    /// Names and values in FastCGI's length form.
    public static func encode(_ parameters: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in parameters {
            for count in [name.utf8.count, value.utf8.count] {
                if count < 128 {
                    bytes.append(UInt8(count))
                } else {
                    let long = UInt32(count) | 0x8000_0000
                    bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: long >> UInt32($0)) }
                }
            }
            bytes += Array(name.utf8) + Array(value.utf8)
        }
        return bytes
    }

    // MARK: Reading

    /// The next record; nil at the end of the connection or after the timeout.
    public func record() -> Record? {
        guard let head = read(8) else { return nil }
        let length = Int(head[4]) << 8 | Int(head[5])
        guard let content = read(length), read(Int(head[6])) != nil else { return nil }
        return Record(kind: Kind(rawValue: head[1]), content: content)
    }

    /// Everything up to the end record or the end of the connection.
    ///
    /// Then leaves, as nginx does, unless `leaving` is false: libfcgi waits up to 2 s for that.
    public func reply(leaving: Bool = true) -> Reply {
        var reply = Reply()
        while let record = record() {
            if record.kind == .output { reply.output += record.content }
            if record.kind == .end {
                reply.isEnded = true
                break
            }
        }
        if leaving { leave() }
        return reply
    }

    /// Whether the server has closed, waiting for that at most the timeout.
    public func isClosedByServer() -> Bool {
        var byte: UInt8 = 0
        guard waitForBytes() else { return false }
        return recv(socket, &byte, 1, 0) <= 0
    }

    private func waitForBytes() -> Bool {
        var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, Int32(timeout * 1000)) > 0
    }

    private func read(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            guard waitForBytes() else { return nil }
            let got = bytes.withUnsafeMutableBytes {
                recv(socket, $0.baseAddress?.advanced(by: filled), count - filled, 0)
            }
            guard got > 0 else { return nil }
            filled += got
        }
        return bytes
    }

    /// One request on a connection of its own; nil where nobody listens.
    public static func ask(
        _ path: String,
        _ parameters: [(String, String)] = [],
        body: [UInt8] = [],
        timeout: Double = 5
    ) -> Reply? {
        guard let client = FastCGIClient(path: path, timeout: timeout) else { return nil }
        let length = body.isEmpty ? [] : [("CONTENT_LENGTH", String(body.count))]
        client.begin(parameters + length)
        client.body(body)
        return client.reply()
    }
}
