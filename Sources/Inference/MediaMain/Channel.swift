// The socket to the front: a job with its two descriptors comes in, a reply goes out.

import CLinux
import Glibc
import JSON
import MediaLink

/// A job and the descriptors that came with it.
struct Order {
    var job: Result<MediaJob, MediaFailure>
    var input: Int32 = -1
    var output: Int32 = -1
}

struct Channel {
    let socket: Int32

    /// Waits for the job; nil where the front went away.
    func receive() -> Order? {
        var fds: [Int32] = []
        guard let head = read(4, into: &fds) else { return nil }
        let length = head.reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= MediaJob.maxMessageBytes, let body = read(length, into: &fds) else {
            return nil
        }
        guard fds.count == 2 else {
            return Order(job: .failure(MediaFailure(.internal, "a job brings two descriptors")))
        }
        var order = Order(
            job: .failure(MediaFailure(.internal, "the job is no JSON object")),
            input: fds[0],
            output: fds[1]
        )
        if let json = try? JSONValue.parse(body) {
            do {
                order.job = .success(try MediaJob(json: json))
            } catch {
                order.job = .failure(MediaFailure(.internal, "the job's \(error.member) is wrong"))
            }
        }
        return order
    }

    func send(_ reply: MediaReply) {
        var rest = reply.message[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                tg_send_fds(socket, $0.baseAddress, $0.count, nil, 0)
            }
            if sent < 0 && errno == EINTR { continue }
            guard sent > 0 else { return }
            rest = rest.dropFirst(sent)
        }
    }

    private func read(_ count: Int, into fds: inout [Int32]) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            var arrived: [Int32] = [-1, -1]
            var number: Int32 = 0
            let size = bytes.withUnsafeMutableBytes { buffer in
                tg_recv_fds(
                    socket,
                    buffer.baseAddress.map { $0 + got },
                    count - got,
                    &arrived,
                    2,
                    &number
                )
            }
            if size < 0 && errno == EINTR { continue }
            guard size > 0 else { return nil }
            fds += arrived.prefix(Int(max(0, min(number, 2))))
            got += size
        }
        return bytes
    }
}
