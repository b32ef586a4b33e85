import Foundation
import MediaLink
import Testing

import Media

@Suite struct DataURLTests {
    private func text(_ url: String, most: Int = 1000) throws -> String {
        let bytes = try DataURL.bytes(of: url, most: most)
        return String(decoding: contents(bytes), as: UTF8.self)
    }

    @Test(arguments: [
        ("data:image/png;base64,aGVsbG8=", "hello"), ("data:;base64,aGVsbG8", "hello"),
        ("DATA:image/PNG;BASE64,aGVs\nbG8=", "hello"), ("data:,hello%20you", "hello you"),
        ("data:text/plain;charset=utf-8;base64,aGVsbG8%3D", "hello"),
        ("data:a/b;base64,Pz8_Pz8-", "????\u{3F}>"), ("data:a/b;base64,aGVsbA==", "hell"),
        ("data:a/b;base64,", ""), ("data:,", ""), ("data:a/b;x=\"y\";base64,aGVs", "hel"),
    ])
    func `a data URL carries its bytes`(url: String, expected: String) throws {
        #expect(try text(url) == expected)
    }

    @Test(arguments: [
        "data:image/png;base64", "data:;base64,a", "data:;base64,aGVs=", "data:;base64,aG=Vs",
        "data:;base64,aGVsbG8==", "data:;base64,a*Vs", "data:,%4", "data:,%zz", "data:;base64,é",
        "data:;base64,====",
    ])
    func `a damaged data URL is refused`(url: String) {
        #expect(throws: MediaError.self) { try text(url) }
    }

    @Test func `bytes beyond the limit are refused`() throws {
        #expect(try text("data:;base64,aGVsbG8=", most: 5) == "hello")
        #expect(throws: MediaError.self) { try text("data:;base64,aGVsbG8=", most: 4) }
        #expect(throws: MediaError.self) { try text("data:,hello", most: 4) }
    }

    @Test func `base64 of every length comes back`() throws {
        for count in 0..<70 {
            let data = Data((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) })
            for text in [
                data.base64EncodedString(), data.base64EncodedString().replacing("=", with: ""),
            ] {
                #expect(try Data(contents(DataURL.base64(text[...], most: 100))) == data)
            }
        }
    }

    @Test func `base64 may be broken anywhere, and a strange sign is refused anywhere`() throws {
        let data = Data((0..<30).map { UInt8(truncatingIfNeeded: $0 &* 37) })
        let text = data.base64EncodedString()
        for place in 0...text.utf8.count {
            let (a, b) = (text.prefix(place), text.dropFirst(place))
            #expect(try Data(contents(DataURL.base64("\(a)\r\n\(b)", most: 100))) == data)
            #expect(throws: MediaError.self) { try DataURL.base64("\(a)!\(b)", most: 100) }
        }
    }
}

@Suite struct MediaURLTests {
    @Test(arguments: [
        ("http://example.com", "http://example.com:80/"),
        ("HTTPS://Example.COM/a?b=%20", "https://example.com:443/a?b=%20"),
        ("https://example.com:8443?x", "https://example.com:8443/?x"),
        ("http://127.0.0.1/x", "http://127.0.0.1:80/x"), ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example:80/"),
    ])
    func `a plain URL is read and written the same`(url: String, canonical: String) {
        #expect(MediaURL(url)?.text == canonical)
    }

    @Test(arguments: [
        "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//example.com/", "http:/x",
        "http:example.com", "https://", "http:///x", "http://user@example.com/",
        "http://a:b@example.com/", "http://example.com\\@evil/", "http://example.com /",
        "http://exa\tmple.com/", "http://example.com/#f", "http://bücher.example/",
        "http://example.com./", "http://.example.com/", "http://a..b/", "http://0177.0.0.1/",
        "http://2130706433/", "http://127.1/", "http://0x7f.1/", "http://0x7f000001/",
        "http://127.0.0.1.5/", "http://127.0.0.256/", "http://[fe80::1%25eth0]/", "http://[::1/",
        "http://::1/", "http://[::1]x/", "http://example.com:/", "http://example.com:0/",
        "http://example.com:080/", "http://example.com:65536/", "http://example.com:+80/",
        "http://example.com:80:80/", "http://-a.com/", "http://[127.0.0.1]/", "http://1/",
        "http://a.b.1/", "http://\u{7F}/", "http://a%2eb/", "http://x/\u{0}",
        "http://x/" + String(repeating: "a", count: 2048),
    ])
    func `what two readers could read differently is refused`(url: String) {
        #expect(MediaURL(url) == nil)
    }
}

@Suite struct EgressGuardTests {
    @Test(arguments: [
        "127.0.0.1", "127.255.255.255", "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1",
        "fd00::8", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:0:4136::1",
        "2001:db8::1", "2001:1ff:ffff::1", "2002:7f00:1::1", "3fff::1", "4000::1", "100::1",
    ])
    func `special addresses are denied`(address: String) throws {
        #expect(!EgressGuard.isPublic(try #require(IPAddress(address[...]))))
    }

    @Test(arguments: [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "172.15.255.255", "172.32.0.0", "192.0.1.1", "198.17.255.255", "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2606:4700::1111", "2a00:1450::1",
    ])
    func `public addresses are allowed`(address: String) throws {
        #expect(EgressGuard.isPublic(try #require(IPAddress(address[...]))))
    }

    @Test func `ports and plain http are bounded, allowed networks are free`() throws {
        let outside = try #require(IPAddress("8.8.8.8"))
        let loopback = try #require(IPAddress("127.0.0.1"))
        let mapped = try #require(IPAddress("::ffff:127.0.0.1"))
        var guarded = EgressGuard()
        #expect(guarded.permits(outside, port: 443, isEncrypted: true))
        #expect(guarded.permits(outside, port: 80, isEncrypted: false))
        #expect(!guarded.permits(outside, port: 8080, isEncrypted: false))
        #expect(!guarded.permits(loopback, port: 80, isEncrypted: false))
        guarded.allowsHTTP = false
        #expect(!guarded.permits(outside, port: 80, isEncrypted: false))
        guarded.networks = [try #require(IPNetwork("127.0.0.0/8"))]
        #expect(guarded.permits(loopback, port: 9999, isEncrypted: false))
        #expect(guarded.permits(mapped, port: 9999, isEncrypted: false))
    }

    @Test func `a list of hosts matches whole labels`() {
        let guarded = EgressGuard(hosts: ["one.example", "*.two.example"])
        #expect(guarded.permits(host: "one.example") && guarded.permits(host: "a.two.example"))
        for host in [
            "two.example", "xone.example", "eviltwo.example", "one.example.evil", "a.one.example",
        ] {
            #expect(!guarded.permits(host: host), "\(host)")
        }
    }

    @Test func `networks are read strictly`() throws {
        #expect(IPNetwork("10.0.0.0/33") == nil && IPNetwork("10.0.0/8") == nil)
        #expect(IPNetwork("::1/129") == nil && IPNetwork("x") == nil && IPNetwork("") == nil)
        let odd = try #require(IPNetwork("10.128.0.0/9"))
        #expect(odd.contains(try #require(IPAddress("10.200.1.1"))))
        #expect(!odd.contains(try #require(IPAddress("10.127.1.1"))))
    }
}

@Suite struct MediaRootTests {
    @Test(arguments: [
        "file:///etc/passwd", "file:/etc/passwd", "file:../x", "file:a/../../x", "file://a//b",
        "file:", "file://", "file://a.png", "file://localhost/a.png", "file://in/a.png", "file:./a",
        "file:a/", "file:a\u{0}b",
        "file:" + String(repeating: "a", count: 1025),
    ])
    func `names that lead anywhere but down are refused`(url: String) {
        #expect(throws: MediaError.self) { try MediaRoot.name(in: url) }
    }

    @Test func `only plain files below the root are opened`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "root-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let inner = folder.appending(path: "in")
        try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
        try Data("hello".utf8).write(to: inner.appending(path: "a.png"))
        try FileManager.default.createSymbolicLink(
            at: inner.appending(path: "link"),
            withDestinationURL: URL(filePath: "/etc/passwd")
        )
        try FileManager.default.createSymbolicLink(
            at: folder.appending(path: "folder"),
            withDestinationURL: inner
        )
        #expect(mkfifo(inner.appending(path: "fifo").path, 0o600) == 0)
        let root = MediaRoot(path: folder.path)
        #expect(contents(try root.open("in/a.png", most: 5)) == Array("hello".utf8))
        for name in ["in/link", "folder/a.png", "in/fifo", "in", "missing", "in/a.png/x"] {
            #expect(throws: MediaError.invalid(MediaRoot.sentence), "\(name)") {
                try root.open(name, most: 5)
            }
        }
        #expect(throws: MediaError.invalid(MediaRoot.sentence)) {
            try root.open("in/a.png", most: 4)
        }
    }
}

func contents(_ bytes: EncodedBytes) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: bytes.count)
    return pread(bytes.descriptor, &buffer, bytes.count, 0) == bytes.count ? buffer : []
}
