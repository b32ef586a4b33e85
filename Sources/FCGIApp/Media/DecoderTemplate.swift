// The `torchgate-media` that decoders are copied from; see CMedia's template.c.

internal import CLinux
internal import Glibc

/// Owned by the keeper, which alone calls it.
final class DecoderTemplate {
    /// How long a copy may be waited for: the first one also waits for the libraries to load.
    private static let patience = 5_000

    private let pid: pid_t
    private let socket: Int32

    /// Starts the template; it and its copies end with the calling thread at the latest.
    init?(executable: String, addressSpace: Int, threads: Int) {
        var pair: [Int32] = [-1, -1]
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard null >= 0, tg_socketpair(&pair) == 0 else {
            if null >= 0 { close(null) }
            return nil
        }
        let arguments = [
            executable, "--template", "yes", "--address-space", String(addressSpace),
            "--threads", String(threads),
        ]
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        defer { words.forEach { free($0) } }
        words.append(nil)
        // A crash report would print memory; functions that are found now need not be found by each copy.
        var environment: [UnsafeMutablePointer<CChar>?] = [
            strdup("SWIFT_BACKTRACE=enable=no"), strdup("LD_BIND_NOW=1"), nil,
        ]
        defer { environment.forEach { free($0) } }
        let started = tg_spawn(&words, &environment, pair[1], null, 2, nil, 0, 5, SIGKILL)
        close(pair[1])
        close(null)
        // Before the fields are set: from then on `deinit` runs, and a signal to -1 would reach every process.
        guard started > 0 else {
            close(pair[0])
            return nil
        }
        pid = started
        socket = pair[0]
    }

    deinit {
        close(socket)
        kill(pid, SIGKILL)
        var raw: Int32 = 0
        while waitpid(pid, &raw, 0) < 0 && errno == EINTR {}
    }

    /// Whether nobody is at the other end any more.
    var hasEnded: Bool {
        var end = pollfd(fd: socket, events: 0, revents: 0)
        return poll(&end, 1, 0) == 1
    }

    /// A new decoder; nil where the template is of no use any more.
    func copy() -> DecoderProcess? {
        var pair: [Int32] = [-1, -1]
        guard tg_socketpair(&pair) == 0 else { return nil }
        var byte: UInt8 = 0
        let sent = tg_send_fds(socket, &byte, 1, [pair[1]], 1)
        close(pair[1])
        var answer: Int32 = -1
        var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        // The answer comes in one piece: it is written at once to an empty socket.
        guard sent == 1, poll(&waiting, 1, Int32(Self.patience)) == 1,
            read(socket, &answer, MemoryLayout<Int32>.size) == MemoryLayout<Int32>.size,
            answer > 1, waitpid(answer, nil, WNOHANG) == 0  // a child of ours, and alive
        else {
            close(pair[0])
            return nil
        }
        return DecoderProcess(pid: answer, socket: pair[0])
    }
}
