// One decoder: copied from the template as a spare, given one job, gone.

internal import CLinux
internal import Glibc
internal import JSON
internal import MediaLink
internal import Synchronization

/// Owned by one thread at a time: the keeper that started it, the pool's lock, then the request.
final class DecoderProcess: Sendable {
    private let pid: pid_t
    private let socket: Int32
    /// Its end, once it was waited for.
    private let status = Mutex<Int32?>(nil)

    /// A process that waits for its job at the other end of the socket, which is taken over.
    init(pid: pid_t, socket: Int32) {
        self.pid = pid
        self.socket = socket
    }

    /// What came of a job.
    enum Outcome {
        case reply(MediaReply)
        /// It ended without a word: exit code, or 256 + signal.
        case ended(Int32)
        /// It was still at it when the time was over.
        case late
        /// It had gone before it got the job.
        case gone
    }

    /// Does one job, with which the process is over; `reap` has to follow.
    ///
    /// Who has answered is ended without waiting: the seal on the output keeps it out from then on.
    func run(_ job: MediaJob, input: Int32, output: Int32, seconds: Double) -> Outcome {
        let end = tg_monotonic_ns() + UInt64(max(0, seconds) * 1e9)
        let message = job.message
        let sent = tg_send_fds(socket, message, message.count, [input, output], 2)
        guard sent == message.count else {
            dismiss()
            return .gone
        }
        guard let answer = receive(until: end) else {
            dismiss()
            return .late
        }
        guard answer.count > 4 else { return .ended(ending()) }
        dismiss()
        guard let json = try? JSONValue.parse(answer.dropFirst(4)),
            let reply = try? MediaReply(json: json)
        else { return .ended(256 + SIGKILL) }
        return .reply(reply)
    }

    /// Ends the process, whatever it does; does not wait.
    func dismiss() {
        shutdown(socket, Int32(SHUT_RDWR))
        close(socket)
        // A number that was waited for may be another's by now.
        if !hasEnded { kill(pid, SIGKILL) }
    }

    /// Whether it has ended by itself; it leaves no zombie then, and `dismiss` has nothing to signal.
    var hasEnded: Bool { wait(WNOHANG) != nil }

    /// Waits for the end of a process that was dismissed.
    func reap() { _ = wait() }

    /// The whole message, less if the process ended, nil where it took too long.
    private func receive(until end: UInt64) -> [UInt8]? {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let now = tg_monotonic_ns()
            guard now < end else { return nil }
            var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Int32(clamping: (end - now) / 1_000_000 + 1))
            guard ready > 0 else { continue }
            let count = read(socket, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return all }
            all += buffer.prefix(count)
            guard all.count >= 4 else { continue }
            let length = all.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            guard length <= MediaJob.maxMessageBytes else { return [] }
            if all.count >= 4 + length { return Array(all.prefix(4 + length)) }
        }
    }

    /// How a process that says no more came to its end; it gets a moment for it.
    private func ending() -> Int32 {
        shutdown(socket, Int32(SHUT_RDWR))
        close(socket)
        for _ in 0..<200 {
            if let end = wait(WNOHANG) { return end }
            usleep(500)
        }
        kill(pid, SIGKILL)
        return wait() ?? 0
    }

    private func wait(_ options: Int32 = 0) -> Int32? {
        status.withLock { status in
            if let status { return status }
            var raw: Int32 = 0
            var found = waitpid(pid, &raw, options)
            while found < 0 && errno == EINTR { found = waitpid(pid, &raw, options) }
            if found != 0 { status = tg_wait_status(raw) }
            return status
        }
    }
}
