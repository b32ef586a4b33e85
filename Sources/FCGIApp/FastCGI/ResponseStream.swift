internal import CFCGI
internal import Synchronization

/// Bytes to the client.
///
/// Used by the exchange's worker only.
///
/// A client that has gone shows as false from `flush`; writing on does no harm.
public final class ResponseStream {
    private let request: UnsafeMutablePointer<FCGX_Request>
    /// Whether the head is out.
    public private(set) var hasHead = false
    /// Whether a write failed: the client is gone.
    public private(set) var isClosed = false
    /// Calls of `flush` so far.
    public private(set) var flushes = 0

    init(_ request: UnsafeMutablePointer<FCGX_Request>) { self.request = request }

    /// Writes status and headers, once.
    ///
    /// Control characters in names and values are dropped: nobody can smuggle a line in.
    public func writeHead(status: Int, headers: [(String, String)]) {
        guard !hasHead else { return }
        hasHead = true
        var text = "Status: \(status)\r\n"
        for (name, value) in headers {
            text += "\(Self.clean(name)): \(Self.clean(value))\r\n"
        }
        put(Array((text + "\r\n").utf8))
    }

    /// Appends to the body; writes a plain 200 head before it if there is none.
    public func write(_ bytes: [UInt8]) {
        if !hasHead { writeHead(status: 200, headers: []) }
        put(bytes)
    }

    /// Sends what was written; false where the client is gone.
    @discardableResult
    public func flush() -> Bool {
        guard !isClosed else { return false }
        flushes += 1
        FCGX_FFlush(request.pointee.out)
        // Later flushes return 0 again; only the stream's error stays.
        if FCGX_GetError(request.pointee.out) != 0 { isClosed = true }
        return !isClosed
    }

    private func put(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        bytes.withUnsafeBytes { raw in
            var rest = raw[...]
            while !rest.isEmpty {
                let piece = rest.prefix(1 << 30)
                let base = UnsafeRawBufferPointer(rebasing: piece).bindMemory(to: CChar.self)
                    .baseAddress
                guard FCGX_PutStr(base, Int32(piece.count), request.pointee.out) >= 0 else { break }
                rest = rest.dropFirst(piece.count)
            }
        }
        if FCGX_GetError(request.pointee.out) != 0 { isClosed = true }
    }

    private static func clean(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        return String(decoding: text.utf8.filter { $0 >= 0x20 && $0 != 0x7F }, as: UTF8.self)
    }
}
