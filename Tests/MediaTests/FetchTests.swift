import Foundation
import Media
import MediaLink
import Synchronization
import Testing

/// A server of one answer a connection, on loopback.
final class SmallServer: Sendable {
    let port: Int
    private let listener: Int32
    private let seen = Mutex<[String]>([])

    /// First lines and headers of the requests, as they came.
    var requests: [String] { seen.withLock { $0 } }

    init(_ answer: @escaping @Sendable (String) -> [UInt8]) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, size) = (listener, length)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, size) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, raw, &length) == 0
            }
        }
        #expect(bound)
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread { [self] in
            while case let client = accept(descriptor, nil, nil), client >= 0 {
                Thread { [self] in serve(client, answer) }.start()
            }
        }.start()
    }

    private func serve(_ client: Int32, _ answer: @Sendable (String) -> [UInt8]) {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !text.contains("\r\n\r\n"), case let count = read(client, &buffer, buffer.count),
            count > 0
        {
            text += String(decoding: buffer.prefix(count), as: UTF8.self)
        }
        seen.withLock { $0.append(text) }
        let path = text.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        var rest = answer(path)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                send(client, $0.baseAddress, min($0.count, 1 << 16), Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { break }
            rest = rest.dropFirst(sent)
        }
        close(client)
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)); close(listener) }

    static func page(_ status: String, _ headers: String = "", _ body: [UInt8] = []) -> [UInt8] {
        Array(
            "HTTP/1.1 \(status)\r\n\(headers)Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
                .utf8
        )
            + body
    }
}

@Suite struct FetchTests {
    private func room(_ change: (inout MediaRoomSettings) -> Void = { _ in }) throws -> MediaRoom {
        let loopback = try #require(IPNetwork("127.0.0.1/32"))
        return MediaRoom(
            Fixture.settings { settings in
                settings.egress.networks = [loopback]
                settings.fetch.connectSeconds = 1
                settings.fetch.totalSeconds = 2
                change(&settings)
            }
        ) { _ in }
    }

    private func fetch(_ url: String, _ room: MediaRoom, _ rights: Set<MediaPermission> = [.url])
        -> Result<PreparedMedia, MediaError>
    {
        do throws(MediaRoom.Failure) {
            let order = MediaOrder(.url(url), .image(Fixture.rule))
            let media = try room.prepare([order], caller: "k", permissions: rights)
            return .success(media[0])
        } catch { return .failure(error.error) }
    }

    private let unfetched = MediaError.refused(
        MediaFailure(.invalid, "the media could not be fetched")
    )

    @Test func `an image comes over http, through redirects, without a word about us`() throws {
        let image = [UInt8](try Fixture.data("rgb.png"))
        let server = try SmallServer { path in
            switch path {
            case "/image?x=%20y": SmallServer.page("200 OK", "Content-Type: text/html\r\n", image)
            case "/1": SmallServer.page("302 Found", "Location: /2\r\n")
            case "/2": SmallServer.page("307 Temporary Redirect", "Location: image?x=%20y\r\n")
            default: SmallServer.page("404 Not Found")
            }
        }
        let room = try room()
        let base = "http://127.0.0.1:\(server.port)"
        for path in ["/image?x=%20y", "/1"] {
            let media = try fetch(base + path, room).get()
            #expect(media.decoded.result.format == "png")
        }
        for request in server.requests {
            let names = request.split(separator: "\r\n").dropFirst().map { $0.prefix { $0 != ":" } }
            #expect(names == ["Host", "User-Agent", "Accept"], "\(request)")
        }
    }

    @Test func `a name with several addresses is dialled at those that answer`() throws {
        let image = [UInt8](try Fixture.data("rgb.png"))
        let server = try SmallServer { _ in SmallServer.page("200 OK", "", image) }
        let room = try room { settings in
            settings.egress.networks += ["::1/128"].compactMap(IPNetwork.init)
        }
        #expect(
            try fetch("http://localhost:\(server.port)/", room).get().decoded.result.frames == 1
        )
    }

    @Test func `the right comes first`() throws {
        let server = try SmallServer { _ in SmallServer.page("200 OK") }
        let room = try room { $0.root = "/tmp" }
        let url = "http://127.0.0.1:\(server.port)/"
        #expect(fetch(url, room, []).failure == .forbidden(.url))
        #expect(fetch("file:a.png", room).failure == .forbidden(.file))
        #expect(fetch("file:a.png", room, [.file]).failure == .invalid(MediaRoot.sentence))
        #expect(server.requests.isEmpty)
    }

    @Test func `nobody is asked who may not be`() throws {
        let server = try SmallServer { _ in SmallServer.page("200 OK") }
        let strict = MediaRoom(Fixture.settings()) { _ in }
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let failure = fetch("http://\(host):\(server.port)/", strict).failure
            #expect(failure == unfetched, "\(host)")
        }
        let room = try room { $0.egress.hosts = ["media.example"] }
        #expect(fetch("http://127.0.0.1:\(server.port)/", room).failure == unfetched)
        #expect(server.requests.isEmpty)
    }

    @Test func `a redirect meets the same guard`() throws {
        let inner = try SmallServer { _ in SmallServer.page("200 OK") }
        let targets = [
            "http://127.0.0.2:\(inner.port)/", "http://[::1]:\(inner.port)/", "http://localhost:1/",
            "file:///etc/passwd", "data:,x", "gopher://127.0.0.1/", "http://169.254.169.254/",
            "http://user@127.0.0.1:\(inner.port)/", "", "/loop",
        ]
        let server = try SmallServer { path in
            if path == "/loop" { return SmallServer.page("302 Found", "Location: /loop\r\n") }
            let target = Int(path.dropFirst()).map { targets[$0] } ?? ""
            return SmallServer.page("302 Found", "Location: \(target)\r\n")
        }
        let room = try room()
        for place in targets.indices {
            let failure = fetch("http://127.0.0.1:\(server.port)/\(place)", room).failure
            #expect(failure == unfetched, "\(targets[place])")
        }
        #expect(inner.requests.isEmpty)
        #expect(server.requests.filter { $0.hasPrefix("GET /loop ") }.count == 3)
    }

    @Test func `failures are one sentence; size is counted, not believed`() throws {
        let server = try SmallServer { path in
            switch path {
            case "/404": return SmallServer.page("404 Not Found", "", Array("secret".utf8))
            case "/500": return SmallServer.page("500 Oops")
            case "/204": return SmallServer.page("204 No Content")
            case "/garbage": return Array("SSH-2.0-OpenSSH\r\n\r\n".utf8)
            case "/silent": sleep(4); return []
            case "/endless":
                return Array("HTTP/1.1 200 OK\r\n\r\n".utf8) + [UInt8](repeating: 7, count: 300_000)
            default: return []
            }
        }
        let room = try room { $0.imageBytes = 100_000 }
        let base = "http://127.0.0.1:\(server.port)"
        for path in ["/404", "/500", "/204", "/garbage", "/silent", "/closed"] {
            #expect(fetch(base + path, room).failure == unfetched, "\(path)")
        }
        #expect(fetch("http://127.0.0.1:1/", room).failure == unfetched)
        guard case .refused(let failure)? = fetch(base + "/endless", room).failure else {
            Issue.record("an endless body was taken")
            return
        }
        #expect(failure.code == .tooLarge)
    }

    @Test func `files that are fetched share the room before their size is known`() throws {
        let image = [UInt8](try Fixture.data("rgb.png"))
        let server = try SmallServer { _ in SmallServer.page("200 OK", "", image) }
        let url = "http://127.0.0.1:\(server.port)/"
        let tight = try room { $0.totalPixelBytes = $0.imageBytes - 1 }
        #expect(fetch(url, tight).failure == .busy)
        #expect(server.requests.isEmpty)
        let enough = try room { $0.totalPixelBytes = $0.imageBytes + 200_000 }
        for _ in 0..<3 { #expect(try fetch(url, enough).get().decoded.result.frames == 1) }
    }

    @Test func `a refusal is not told at once`() throws {
        let room = try room { $0.fetch.refusalSeconds = 0.15 }
        let start = Date()
        #expect(fetch("http://10.0.0.1/", room).failure == unfetched)
        #expect(Date().timeIntervalSince(start) >= 0.15)
    }
}

extension Result {
    var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}
