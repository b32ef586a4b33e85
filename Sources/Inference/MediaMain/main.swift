// `torchgate-media`: one decode, then the end. Started ahead of need: it walls itself in, then waits on
// descriptor 0, a unix socket, for its one job. See docs of MediaLink for what goes over the socket.
// As a template it does no job, but makes copies of itself that each do one.
//
// torchgate-media [--template yes] [--address-space BYTES] [--cpu-seconds N] [--threads N]
// torchgate-media --probe file|socket|process|thread|exec    dies by SIGSYS where the sandbox holds
// torchgate-media --cpu-seconds 1 --probe time               dies by SIGXCPU

import CMedia
import Glibc

struct Options {
    var addressSpace: UInt64 = 1 << 30
    var cpuSeconds: UInt64 = 60
    var threads: Int32 = 2
    var isTemplate = false
    var probe: String?

    init?(_ arguments: [String]) {
        var rest = arguments.dropFirst()
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch name {
            case "--address-space":
                guard let bytes = UInt64(value) else { return nil }
                addressSpace = bytes
            case "--cpu-seconds":
                guard let seconds = UInt64(value) else { return nil }
                cpuSeconds = seconds
            case "--threads":
                guard let count = Int32(value) else { return nil }
                threads = count
            case "--template":
                isTemplate = value == "yes"
            case "--probe":
                probe = value
            default:
                return nil
            }
        }
    }
}

func complain(_ text: String) -> Never {
    let line = Array("torchgate-media: \(text)\n".utf8)
    _ = write(2, line, line.count)
    exit(2)
}

guard let options = Options(CommandLine.arguments) else {
    complain(
        "usage: torchgate-media [--template yes] [--address-space BYTES] [--cpu-seconds N]"
            + " [--threads N] [--probe WHAT]"
    )
}
tg_media_prepare()
if options.isTemplate, tg_media_copies() != 0 { exit(0) }
tg_helpers_start(min(options.threads, Int32(clamping: sysconf(Int32(_SC_NPROCESSORS_ONLN)))) - 1)
let walls = tg_media_sandbox(options.addressSpace, options.cpuSeconds)
guard walls == 0 else {
    complain("the sandbox cannot be built: \(String(cString: strerror(walls)))")
}

var channel = Channel(socket: 0)
// A copy probes where a harmful medium would reach out: with a job in hand.
let order = options.probe == nil || options.isTemplate ? channel.receive() : nil
if let probe = options.probe {
    guard tg_media_probe(probe) == 0 else { complain("nothing to probe is called \(probe)") }
    complain("the sandbox let \(probe) pass")
}
guard let order else { exit(1) }
channel.send(perform(order))
exit(0)
