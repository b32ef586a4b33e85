import CLinux
import FastCGI
import Foundation
import TestSupport
import Testing

@Suite struct ListenerTests {
    @Test func `beyond the cap comes 503 at once, without reading the body`() throws {
        let hold = DispatchSemaphore(value: 0)
        let house = try House(change: { settings in
            settings.maxExchanges = 4
            settings.overloaded = { exchange in
                exchange.response.writeHead(status: 503, headers: [("Retry-After", "1")])
                let state = "\(exchange.request.bodyState) \(exchange.request.body.count)"
                exchange.response.write(Array(state.utf8))
            }
        }) { exchange in
            hold.wait()
            answer(exchange, "held")
        }
        defer { house.end() }
        let held = try (0..<4).map { _ in
            let client = try #require(FastCGIClient(path: house.path))
            client.begin([])
            client.body([])
            return client
        }
        #expect(holds(within: 2) { house.listener.exchanges == 4 })
        let before = tg_monotonic_ns()
        let refused = try #require(
            FastCGIClient.ask(house.path, body: [UInt8](repeating: 7, count: 2_000_000))
        )
        #expect(refused.status == 503)
        #expect(refused.header("Retry-After") == "1")
        #expect(String(decoding: refused.body, as: UTF8.self) == "truncated 0")
        #expect(tg_monotonic_ns() - before < 1_000_000_000)
        for _ in held { hold.signal() }
        for client in held { #expect(client.reply().status == 200) }
        hold.signal()
        #expect(FastCGIClient.ask(house.path)?.status == 200)
    }

    @Test func `five hundred streams at once all complete`() throws {
        let count = 500
        let open = Box(0)
        let house = try House { exchange in
            exchange.response.writeHead(status: 200, headers: [])
            open.change { $0 += 1 }
            // All are open before any goes on.
            _ = holds(within: 10) { open.value == count }
            for number in 0..<10 {
                exchange.response.write(Array("data: \(number)\n\n".utf8))
                exchange.response.flush()
                usleep(2000)
            }
        }
        defer { house.end() }
        let clients = try (0..<count).map { _ in
            let client = try #require(FastCGIClient(path: house.path, timeout: 15))
            client.begin([])
            client.body([])
            return client
        }
        let wanted = (0..<10).map { "data: \($0)\n\n" }.joined()
        var complete = 0
        for client in clients {
            let reply = client.reply()
            if reply.isEnded, String(decoding: reply.body, as: UTF8.self) == wanted {
                complete += 1
            }
        }
        #expect(complete == count)
        #expect(holds(within: 1) { house.listener.exchanges == 0 })
    }

    @Test func `garbage closes its own connection and disturbs nobody`() throws {
        let house = try House { exchange in answer(exchange, "ok") }
        defer { house.end() }
        var seed: UInt64 = 42
        func random() -> UInt8 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: seed >> 40)
        }
        let begin: [UInt8] = [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        // A name longer than all that follows; an unknown role; another version; parameters before begin.
        var bad: [[UInt8]] = [
            begin + [1, 4, 0, 1, 0, 6, 0, 0, 0xFF, 0xFF, 0xFF, 0xF0, 0, 0] + [
                1, 4, 0, 1, 0, 0, 0, 0,
            ],
            [1, 1, 0, 1, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0], [9] + begin.dropFirst(),
            [1, 4, 0, 1, 0, 0, 0, 0], Array("GET / HTTP/1.1\r\n\r\n".utf8),
        ]
        for length in [1, 7, 8, 9, 100, 5000] { bad.append((0..<length).map { _ in random() }) }
        for bytes in bad {
            let client = try #require(FastCGIClient(path: house.path, timeout: 3))
            client.send(bytes)
            shutdown(client.socket, Int32(SHUT_WR))
            let reply = client.reply()
            #expect(reply.status == nil, "\(bytes.prefix(24))")
            #expect(FastCGIClient.ask(house.path)?.status == 200)
        }
        #expect(holds(within: 1) { house.listener.exchanges == 0 })
    }

    @Test func `a hundred thousand tiny records neither grow nor stall`() throws {
        let house = try House { exchange in answer(exchange, "\(exchange.request.body.count)") }
        defer { house.end() }
        let client = try #require(FastCGIClient(path: house.path))
        client.begin([("CONTENT_LENGTH", "100000")])
        let record: [UInt8] = [1, 5, 0, 1, 0, 1, 7, 0, 0x78, 0, 0, 0, 0, 0, 0, 0]
        let many = Array(repeatElement(record, count: 1000).joined())
        for _ in 0..<100 { client.send(many) }
        client.send(.input)
        #expect(String(decoding: client.reply().body, as: UTF8.self) == "100000")
    }

    @Test func `a connection that never speaks is closed, and those that do are not held up`()
        throws
    {
        let house = try House(change: { $0.freshTimeout = 0.2 }) { answer($0, "ok") }
        defer { house.end() }
        let silent = try (0..<30).map { _ in try #require(FastCGIClient(path: house.path)) }
        #expect(FastCGIClient.ask(house.path)?.status == 200)
        for client in silent { #expect(client.isClosedByServer()) }
    }

    @Test func `a stopped listener ends what runs, tells what is left, and returns`() throws {
        let hold = DispatchSemaphore(value: 0)
        let house = try House { exchange in
            if exchange.request.param("STAY") != nil { hold.wait() } else { usleep(100_000) }
            answer(exchange, "done")
        }
        let short = try #require(FastCGIClient(path: house.path))
        short.begin([])
        short.body([])
        let stay = try #require(FastCGIClient(path: house.path))
        stay.begin([("STAY", "1")])
        stay.body([])
        #expect(holds(within: 1) { house.listener.exchanges == 2 })
        let (shortReading, stayReading) = (Reading(short), Reading(stay))
        let before = tg_monotonic_ns()
        let (left, returned) = house.end(drainSeconds: 0.3)
        #expect(left == 1)
        #expect(returned)
        #expect(tg_monotonic_ns() - before < 1_500_000_000)
        #expect(shortReading.reply()?.isEnded == true)
        #expect(FastCGIClient(path: house.path) == nil)
        hold.signal()
        #expect(stayReading.reply()?.isEnded == true)
    }

    @Test func `a request already on its way when the listener stops is served`() throws {
        for _ in 0..<20 {
            let house = try House { answer($0, "served") }
            let client = try #require(FastCGIClient(path: house.path))
            client.begin([])
            client.body([])
            let reading = Reading(client)
            #expect(FastCGIClient.ask(house.path)?.status == 200)
            house.end()
            #expect(reading.reply()?.status == 200)
        }
    }

    @Test func `an inherited socket is served, and left listening for others`() throws {
        let folder =
            FileManager.default.temporaryDirectory.path + "/fcgi-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/i"
        let socket = tg_unix_listen(path, 64, 0o600)
        defer { close(socket) }
        let given = dup(socket)
        let first = try House(change: { $0.sources = [.inherited(given)] }) { answer($0, "one") }
        #expect(FastCGIClient.ask(path)?.status == 200)
        first.end()
        // Connections wait for the next server, none is refused.
        let waiting = try #require(FastCGIClient(path: path))
        waiting.begin([])
        waiting.body([])
        let second = try House(change: { $0.sources = [.inherited(dup(socket))] }) {
            answer($0, "two")
        }
        defer { second.end() }
        #expect(String(decoding: waiting.reply().body, as: UTF8.self) == "two")
    }

    @Test func `what is no listening socket is refused`() throws {
        #expect(throws: FastCGIError.self) {
            try FastCGIListener(settings: FastCGISettings(sources: [.inherited(0)])) { _ in }
        }
        #expect(throws: FastCGIError.self) {
            let nowhere = FastCGISettings.Source.path("/nowhere/at/all", mode: 0o600, group: nil)
            return try FastCGIListener(settings: FastCGISettings(sources: [nowhere])) { _ in }
        }
    }

    @Test func `the socket's file has the mode that was asked for`() throws {
        let house = try House { answer($0, "ok") }
        defer { house.end() }
        var info = stat()
        #expect(stat(house.path, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o660)
    }

    /// Only root can start a process of another user.
    @Test(.enabled(if: geteuid() == 0, "needs root to connect as another user"))
    func `another user is refused, unless named`() throws {
        let nobody: UInt32 = 65534
        for (allowed, expected) in [(Set<UInt32>(), false), ([nobody], true)] {
            let house = try House(change: { $0.allowedUsers = allowed }) { answer($0, "welcome") }
            defer { house.end() }
            chmod((house.path as NSString).deletingLastPathComponent, 0o755)
            chmod(house.path, 0o666)
            let reply = try askAsUser(nobody, house.path)
            #expect(reply.contains("welcome") == expected)
        }
    }

    private func askAsUser(_ user: UInt32, _ path: String) throws -> String {
        let script = """
            my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 2; $SIG{PIPE} = "IGNORE";
            $s->send(pack("H*", $ARGV[1])); local $/; print <$s>;
            """
        let request =
            "0101000100080000" + "0001000000000000" + "0104000100000000" + "0105000100000000"
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
        process.arguments = [
            "--reuid=\(user)", "--clear-groups", "perl", "-MIO::Socket::UNIX", "-e", script, path,
            request,
        ]
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    @Test func `ticks come while nothing else does`() throws {
        let house = try House { answer($0, "ok") }
        defer { house.end() }
        #expect(holds(within: 2) { house.ticks.value > 3 })
    }
}
