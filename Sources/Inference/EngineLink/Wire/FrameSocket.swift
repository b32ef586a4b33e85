internal import CLinux
internal import Glibc
internal import Synchronization

/// A connected socket that carries frames: reads belong to one thread, any thread may write.
///
/// What the kernel does not take at once waits in memory until the owner's poll finds room; when
/// nothing moves for `WireProtocol.writeStallSeconds`, or too much waits, the connection is given up.
package final class FrameSocket: Sendable {
    /// Bytes that may wait for room.
    private static let maxPending = 64 << 20
    /// Descriptors that may arrive ahead of the frame they belong to.
    private static let maxEarlyDescriptors = 8

    private struct Segment {
        var bytes: [UInt8]
        var sent = 0
        /// What rides on the first byte; nil once that is sent.
        var passed: SharedPixels?
    }

    private struct Output {
        var segments: [Segment] = []
        var pending = 0
        var lastMove: UInt64 = 0
        var isOpen = true
    }

    /// The reader's own: touched by the reading thread only, under its lock for the compiler's sake.
    private struct Input {
        var decoder = FrameDecoder()
        var descriptors: [Int32] = []
        var scratch = [UInt8](repeating: 0, count: 256 << 10)
    }

    /// How a read ended.
    package enum Reading: Sendable, Equatable {
        /// Something came, and more may come.
        case open
        /// There was nothing to read.
        case empty
        /// The other side closed.
        case ended
    }

    /// The descriptor; open until `close()`.
    package let descriptor: Int32
    private let output = Mutex(Output())
    private let input = Mutex(Input())

    /// Takes over a connected socket and makes it nonblocking.
    package init(descriptor: Int32) {
        self.descriptor = descriptor
        _ = tg_set_nonblocking(descriptor, 1)
    }

    deinit { close() }

    /// Whether bytes wait for room, so that the poll must ask for it.
    package var isPending: Bool { output.withLock { $0.pending > 0 } }

    /// Whether nothing has moved for too long.
    package func isStalled(now: UInt64) -> Bool {
        output.withLock {
            $0.pending > 0
                && (now &- $0.lastMove > WireProtocol.writeStallSeconds * 1_000_000_000
                    || $0.pending > Self.maxPending)
        }
    }

    /// Writes a frame or queues what does not fit; false when bytes wait or the socket is closed.
    ///
    /// The descriptor of `passing` rides on the first byte.
    @discardableResult
    package func send(_ frame: Frame, passing: SharedPixels? = nil) -> Bool {
        var frame = frame
        frame.hasDescriptor = passing != nil
        return send(bytes: frame.bytes, passing: passing)
    }

    /// Writes raw bytes in order.
    @discardableResult
    package func send(bytes: [UInt8], passing: SharedPixels? = nil) -> Bool {
        output.withLock { output in
            guard output.isOpen else { return false }
            if output.pending == 0 { output.lastMove = tg_monotonic_ns() }
            output.pending += bytes.count
            if passing == nil, output.segments.last.map({ $0.bytes.count < 1 << 20 }) ?? false {
                output.segments[output.segments.count - 1].bytes += bytes
            } else {
                output.segments.append(Segment(bytes: bytes, passed: passing))
            }
            return flush(&output)
        }
    }

    /// Writes what waits, as far as there is room; true when nothing waits any more.
    @discardableResult
    package func flush() -> Bool { output.withLock { flush(&$0) } }

    private func flush(_ output: inout Output) -> Bool {
        guard output.isOpen else { return false }
        while let segment = output.segments.first {
            let count = segment.bytes.withUnsafeBytes { bytes -> Int in
                let rest = UnsafeRawBufferPointer(rebasing: bytes[segment.sent...])
                guard var list = segment.passed?.descriptor else {
                    return tg_send_fds(descriptor, rest.baseAddress, rest.count, nil, 0)
                }
                return tg_send_fds(descriptor, rest.baseAddress, rest.count, &list, 1)
            }
            if count < 0 {
                if errno == EINTR { continue }
                // A broken pipe is seen by the reader as the end; there is nobody to write to.
                return false
            }
            output.lastMove = tg_monotonic_ns()
            output.pending -= count
            if segment.sent + count == segment.bytes.count {
                output.segments.removeFirst()
            } else {
                output.segments[0].sent += count
                output.segments[0].passed = nil
            }
        }
        return true
    }

    /// Reads once and hands every complete frame on, with its descriptor if it carries one.
    ///
    /// The receiver of a descriptor owns it.
    /// - Throws: `ProtocolError`; the connection must be closed.
    package func receive(_ handle: (Frame, Int32?) throws(ProtocolError) -> Void)
        throws(ProtocolError) -> Reading
    {
        try input.withLock { input throws(ProtocolError) -> Reading in
            // After `close` the descriptor's number may be somebody else's.
            guard output.withLock({ $0.isOpen }) else { return .ended }
            var arrived = [Int32](repeating: -1, count: Self.maxEarlyDescriptors)
            var arrivedCount: Int32 = 0
            let count = input.scratch.withUnsafeMutableBytes {
                tg_recv_fds(
                    descriptor,
                    $0.baseAddress,
                    $0.count,
                    &arrived,
                    Int32(Self.maxEarlyDescriptors),
                    &arrivedCount
                )
            }
            if count < 0 { return errno == EAGAIN || errno == EINTR ? .empty : .ended }
            input.descriptors += arrived.prefix(Int(arrivedCount))
            if count == 0 { return .ended }
            input.scratch.withUnsafeBytes {
                input.decoder.append(UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
            while let frame = try input.decoder.next() {
                var passed: Int32?
                if frame.hasDescriptor {
                    guard !input.descriptors.isEmpty else {
                        throw ProtocolError("a frame without its descriptor")
                    }
                    passed = input.descriptors.removeFirst()
                }
                try handle(frame, passed)
            }
            guard input.descriptors.count <= Self.maxEarlyDescriptors else {
                throw ProtocolError("descriptors without frames")
            }
            return .open
        }
    }

    /// Closes the socket and all descriptors on their way; writes after it do nothing.
    ///
    /// For the reading thread, outside of `receive`.
    package func close() {
        let wasOpen = output.withLock { output in
            guard output.isOpen else { return false }
            output.isOpen = false
            output.segments = []
            output.pending = 0
            _ = Glibc.close(descriptor)
            return true
        }
        guard wasOpen else { return }
        input.withLock { input in
            for passed in input.descriptors { _ = Glibc.close(passed) }
            input.descriptors = []
        }
    }
}
