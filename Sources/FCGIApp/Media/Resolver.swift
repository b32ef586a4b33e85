internal import Foundation
internal import Glibc
internal import Synchronization

/// Addresses of a name, within a time: the system's resolver has none of its own.
enum Resolver {
    private static let running = Mutex(0)
    /// Look-ups at once; those that were given up still count until the system ends them.
    private static let most = 64

    private final class Answer: Sendable {
        let addresses = Mutex<[IPAddress]>([])
        let ready = DispatchSemaphore(value: 0)
    }

    /// Every address of the name; empty where there is none, or none in time.
    static func addresses(of host: String, seconds: Double) -> [IPAddress] {
        let admitted = running.withLock { count in
            guard count < most else { return false }
            count += 1
            return true
        }
        guard admitted else { return [] }
        let answer = Answer()
        let thread = Thread {
            let found = look(up: host)
            answer.addresses.withLock { $0 = found }
            answer.ready.signal()
            running.withLock { $0 -= 1 }
        }
        thread.stackSize = 1 << 19
        thread.start()
        guard answer.ready.wait(timeout: .now() + seconds) == .success else { return [] }
        return answer.addresses.withLock { $0 }
    }

    private static func look(up host: String) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family = AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var found: [IPAddress] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            guard let raw = entry.pointee.ai_addr else { continue }
            guard let address = IPAddress(raw) else { return [] }
            if !found.contains(address) { found.append(address) }
        }
        return found
    }
}
