// The hot frame, one for each engine step, in a fixed layout:
//   u64 step number, u64 monotonic ns, u32 count, then for each token
//   u64 generation, u16 choice, u8 finish (0 none, 1 stop, 2 length),
//   u8 top (number of alternatives; 255: no logprob), i32 token, f32 logprob,
//   top × (i32 token, f32 logprob)

extension EngineStep {
    private static let fixedBytes = 20
    private static let noLogprob: UInt8 = 255
    /// Most alternatives beside a token.
    package static let maxTop = 20

    /// The frame's payload.
    ///
    /// What does not fit its field is cut off: the engine keeps the bounds.
    var payload: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(20 + tokens.count * 20)
        output.appendLittleEndian(number)
        output.appendLittleEndian(monotonicNs)
        output.appendLittleEndian(UInt32(truncatingIfNeeded: tokens.count))
        for item in tokens {
            let event = item.event
            let top = event.logprob == nil ? [] : event.top.prefix(Self.maxTop)
            output.appendLittleEndian(item.id)
            output.appendLittleEndian(UInt16(truncatingIfNeeded: event.choice))
            output.append(event.finish == nil ? 0 : event.finish == .stop ? 1 : 2)
            output.append(
                event.logprob == nil ? Self.noLogprob : UInt8(truncatingIfNeeded: top.count)
            )
            output.appendLittleEndian(event.token)
            output.appendLittleEndian((event.logprob ?? 0).bitPattern)
            for entry in top {
                output.appendLittleEndian(entry.token)
                output.appendLittleEndian(entry.logprob.bitPattern)
            }
        }
        return output
    }

    /// Reads the frame's payload.
    /// - Throws: `ProtocolError` where a count, a token or a logprob is out of range.
    init(payload: [UInt8]) throws(ProtocolError) {
        var reader = ByteReader(bytes: payload)
        number = try reader.take(UInt64.self)
        monotonicNs = try reader.take(UInt64.self)
        let count = Int(try reader.take(UInt32.self))
        guard count <= reader.remaining / Self.fixedBytes else {
            throw ProtocolError("step: more tokens than bytes")
        }
        tokens = []
        tokens.reserveCapacity(count)
        for _ in 0..<count {
            let id = try reader.take(UInt64.self)
            let choice = Int(try reader.take(UInt16.self))
            let finish = try reader.take(UInt8.self)
            let alternatives = try reader.take(UInt8.self)
            var event = TokenEvent(choice: choice, token: try reader.token())
            let logprob = try reader.logprob()
            guard finish <= 2 else { throw ProtocolError("step: unknown finish") }
            event.finish = finish == 0 ? nil : finish == 1 ? .stop : .length
            if alternatives != Self.noLogprob {
                guard alternatives <= Self.maxTop else { throw ProtocolError("step: top too long") }
                event.logprob = logprob
                for _ in 0..<alternatives {
                    event.top.append(
                        TokenLogprob(token: try reader.token(), logprob: try reader.logprob())
                    )
                }
            }
            tokens.append(GenerationToken(id: id, event: event))
        }
        guard reader.remaining == 0 else { throw ProtocolError("step: bytes after the last token") }
    }
}

/// Reads fixed-width values and checks the end before each.
private struct ByteReader {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var remaining: Int { bytes.count - at }

    mutating func take<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(ProtocolError)
        -> T
    {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw ProtocolError("step: cut short") }
        defer { at += size }
        return bytes.withUnsafeBytes {
            T(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self))
        }
    }

    mutating func token() throws(ProtocolError) -> Int32 {
        let value = try take(Int32.self)
        guard value >= 0 else { throw ProtocolError("step: negative token") }
        return value
    }

    mutating func logprob() throws(ProtocolError) -> Float {
        let value = Float(bitPattern: try take(UInt32.self))
        guard !value.isNaN else { throw ProtocolError("step: logprob is not a number") }
        return value
    }
}
