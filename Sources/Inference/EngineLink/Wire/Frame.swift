// Frames know bytes only: u32 length, u8 kind, u64 generation id, payload, all little-endian. The
// length counts what follows it. Anything malformed ends the connection, never a process.

/// Why bytes from the other side are not acceptable.
public struct ProtocolError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, quoting nothing of the input.
    public let reason: String
    /// One line for the log.
    public var description: String { reason }

    /// Creates an error.
    package init(_ reason: String) { self.reason = reason }
}

/// What both sides must agree on.
package enum WireProtocol {
    /// Raised with every incompatible change.
    package static let version = 2
    /// Longest frame, its length field not counted.
    package static let maxFrame = 16 << 20
    /// Kind and generation id.
    package static let headerBytes = 9
    /// Set in a kind: one descriptor rides on the frame's first byte.
    package static let descriptorFlag: UInt8 = 0x80
    /// Seconds that a writer may find no room before it gives the connection up.
    package static let writeStallSeconds: UInt64 = 10
}

/// One frame, taken apart.
package struct Frame: Sendable, Equatable {
    /// Kind, without the descriptor flag.
    package var kind: UInt8
    /// Generation, or 0.
    package var id: GenerationID
    /// The rest.
    package var payload: [UInt8]
    /// Whether a descriptor belongs to it.
    package var hasDescriptor: Bool

    /// Creates a frame.
    package init(kind: UInt8, id: GenerationID, payload: [UInt8], hasDescriptor: Bool = false) {
        self.kind = kind
        self.id = id
        self.payload = payload
        self.hasDescriptor = hasDescriptor
    }

    /// The frame as bytes.
    package var bytes: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(payload.count + WireProtocol.headerBytes + 4)
        output.appendLittleEndian(
            UInt32(truncatingIfNeeded: payload.count + WireProtocol.headerBytes)
        )
        output.append(hasDescriptor ? kind | WireProtocol.descriptorFlag : kind)
        output.appendLittleEndian(id)
        output += payload
        return output
    }
}

/// Cuts a stream of bytes into frames.
package struct FrameDecoder: Sendable {
    private var buffer: [UInt8] = []
    private var start = 0

    /// A decoder at the start of a stream.
    package init() {}

    /// Takes bytes as they arrive.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity < 1 << 20)
            start = 0
        } else if start > 1 << 16 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The next whole frame, or nil until more bytes arrive.
    /// - Throws: `ProtocolError` for a length outside the bounds; the stream cannot go on.
    package mutating func next() throws(ProtocolError) -> Frame? {
        let available = buffer.count - start
        guard available >= 4 else { return nil }
        let at = start
        let length = buffer.withUnsafeBytes {
            Int(UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
        }
        guard length >= WireProtocol.headerBytes, length <= WireProtocol.maxFrame else {
            throw ProtocolError("frame length out of bounds")
        }
        guard available >= 4 + length else { return nil }
        let kind = buffer[at + 4]
        let id = buffer.withUnsafeBytes {
            UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: at + 5, as: UInt64.self))
        }
        let payload = Array(buffer[(at + 4 + WireProtocol.headerBytes)..<(at + 4 + length)])
        start = at + 4 + length
        return Frame(
            kind: kind & ~WireProtocol.descriptorFlag,
            id: id,
            payload: payload,
            hasDescriptor: kind & WireProtocol.descriptorFlag != 0
        )
    }
}

extension [UInt8] {
    /// Appends the bytes of an integer, least significant first.
    mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
