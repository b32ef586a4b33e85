// Fetching by URL behind the egress guard. Each hop: read the URL strictly, resolve the name once, refuse
// all where one address is forbidden, dial only those, and look at the socket's address again when it is
// made. What went wrong is told in one sentence for all causes, and not before a moment has passed, so that
// the answer is no scanner of networks.

internal import CCurl
internal import CLinux
internal import Foundation
internal import Glibc

/// Bounds of a fetch.
public struct FetchLimits: Sendable, Equatable {
    /// Seconds for resolving and connecting, of each hop.
    public var connectSeconds = 3.0
    /// Seconds for all hops together.
    public var totalSeconds = 15.0
    /// A transfer that is slower for `slowSeconds` ends.
    public var slowBytesPerSecond = 10_000
    /// Seconds of slowness.
    public var slowSeconds = 5
    /// Redirects that are followed.
    public var redirects = 3
    /// Seconds before a refusal is told.
    public var refusalSeconds = 0.2

    /// The defaults that stand beside each limit.
    public init() {}
}

struct Fetcher: Sendable {
    let egress: EgressGuard
    let limits: FetchLimits

    static let sentence = "the media could not be fetched"

    /// The bytes behind a URL; at most `most`.
    func fetch(_ text: String, most: Int) throws(MediaError) -> EncodedBytes {
        let start = tg_monotonic_ns()
        do throws(MediaError) {
            return try follow(text, most: most, start: start)
        } catch {
            let passed = Double(tg_monotonic_ns() - start) / 1e9
            if passed < limits.refusalSeconds {
                usleep(UInt32((limits.refusalSeconds - passed) * 1e6))
            }
            throw error
        }
    }

    private func follow(_ text: String, most: Int, start: UInt64) throws(MediaError) -> EncodedBytes
    {
        guard var url = MediaURL(text) else {
            throw .invalid("the URL must be a plain http or https URL")
        }
        for _ in 0...max(0, limits.redirects) {
            let left = limits.totalSeconds - Double(tg_monotonic_ns() - start) / 1e9
            guard left > 0 else { break }
            switch try hop(url, most: most, seconds: left) {
            case .body(let bytes): return bytes
            case .redirect(let location):
                // Never from an encrypted page to a plain one.
                guard let next = MediaURL(location), next.isEncrypted || !url.isEncrypted else {
                    throw .invalid(Self.sentence)
                }
                url = next
            }
        }
        throw .invalid(Self.sentence)
    }

    private enum Hop {
        case body(EncodedBytes)
        case redirect(String)
    }

    private func hop(_ url: MediaURL, most: Int, seconds: Double) throws(MediaError) -> Hop {
        guard egress.permits(host: url.host) else { throw .invalid(Self.sentence) }
        let patience = min(limits.connectSeconds, seconds)
        let addresses =
            url.address.map { [$0] } ?? Resolver.addresses(of: url.host, seconds: patience)
        let permit = { (address: IPAddress) in
            egress.permits(address, port: url.port, isEncrypted: url.isEncrypted)
        }
        guard !addresses.isEmpty, addresses.allSatisfy(permit) else {
            throw .invalid(Self.sentence)
        }
        let descriptor = tg_memfd("fetched")
        guard descriptor >= 0 else { throw .busy }
        let bytes = transfer(url, addresses, to: descriptor, most: most, seconds: seconds)
        guard case .success(let hop) = bytes else {
            close(descriptor)
            if case .failure(let error) = bytes { throw error }
            throw .invalid(Self.sentence)
        }
        if case .redirect = hop { close(descriptor) }
        return hop
    }

    /// What the socket callback is given.
    private final class Watch {
        let isPermitted: (IPAddress, Int) -> Bool
        init(_ isPermitted: @escaping (IPAddress, Int) -> Bool) { self.isPermitted = isPermitted }
    }

    private func transfer(
        _ url: MediaURL,
        _ addresses: [IPAddress],
        to descriptor: Int32,
        most: Int,
        seconds: Double
    ) -> Result<Hop, MediaError> {
        let watch = Watch { address, port in
            port == url.port && addresses.contains(address)
                && egress.permits(address, port: port, isEncrypted: url.isEncrypted)
        }
        let list = addresses.map { $0.bytes.count == 16 ? "[\($0.text)]" : $0.text }
        let resolve = "\(url.host):\(url.port):\(list.joined(separator: ","))"
        let words = [url.text, resolve, "torchgate-media-fetch"].map { (word: String) in
            strdup(word)
        }
        defer { words.forEach { free($0) } }
        var request = tg_fetch_request()
        request.url = UnsafePointer(words[0])
        request.resolve = url.address == nil ? UnsafePointer(words[1]) : nil
        request.user_agent = UnsafePointer(words[2])
        request.connect_ms = Int(limits.connectSeconds * 1000)
        request.total_ms = max(1, Int(seconds * 1000))
        request.slow_bytes = limits.slowBytesPerSecond
        request.slow_seconds = limits.slowSeconds
        request.max_bytes = UInt64(clamping: most)
        request.output = descriptor
        request.context = Unmanaged.passUnretained(watch).toOpaque()
        request.permit = { context, bytes, count, port in
            guard let context, let bytes,
                let address = IPAddress(
                    bytes: Array(UnsafeBufferPointer(start: bytes, count: Int(count)))
                )
            else { return 0 }
            let watch = Unmanaged<Watch>.fromOpaque(context).takeUnretainedValue()
            return watch.isPermitted(address, Int(port)) ? 1 : 0
        }
        var result = tg_fetch_result()
        let code = withExtendedLifetime(watch) { tg_fetch(&request, &result) }
        switch code {
        case TG_FETCH_DONE where result.status == 200:
            return .success(
                .body(EncodedBytes(descriptor: descriptor, count: Int(clamping: result.bytes)))
            )
        case TG_FETCH_DONE where (300..<400).contains(result.status):
            let location = withUnsafeBytes(of: result.location) { buffer in
                String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
            }
            return .success(.redirect(location))
        case TG_FETCH_TOO_LARGE: return .failure(.tooLarge(DataURL.beyond(most)))
        default: return .failure(.invalid(Self.sentence))
        }
    }
}
