import CLinux
import FastCGI
import Foundation
import Testing

@Suite struct ListenerTests {
    private static func say(_ text: String) -> @Sendable (FastCGIExchange) -> Void {
        { $0.response.write(Array(text.utf8)) }
    }

    @Test(arguments: [false, true])
    func `beyond the cap the answer does not wait for the body`(keeps: Bool) throws {
        let (isOpen, inside) = (Shared(false), Shared(0))
        let stage = try ListenerStage({ settings in
            settings.maxExchanges = 1
            settings.overloaded = { exchange in
                let request = exchange.request
                exchange.response.write(
                    Array("\(request.bodyState) \(request.body.count)".utf8)
                )
            }
        }) { _ in
            inside.change { $0 += 1 }
            _ = isOpen.wait { $0 }
        }
        let first = try stage.client()
        first.send(FastCGIClient.request([]))
        try #require(inside.wait { $0 == 1 })
        let second = try stage.client()
        let bytes = FastCGIClient.request(
            [],
            body: [UInt8](repeating: 7, count: 200_000),
            keeps: keeps
        )
        second.send(Array(bytes.prefix(1000)))
        let answer = second.answer()
        #expect(answer.text == "truncated 0")
        #expect(answer.isWhole)
        #expect(second.isAtEnd())
        isOpen.change { $0 = true }
    }

    @Test func `a request on its way when the listener stops is served`() throws {
        for _ in 0..<20 {
            let stage = try ListenerStage(handler: Self.say("served"))
            let client = try stage.client()
            client.send(FastCGIClient.request([]))
            let answer = Shared<String?>(nil)
            Thread.detachNewThread {
                let text = client.answer().text
                // As nginx does: libfcgi waits up to 2 s for its peer to leave first.
                client.hangUp()
                answer.change { $0 = text }
            }
            // Accepted after the first one, so that one is in the listener's hands.
            #expect(try stage.ask().text == "served")
            #expect(stage.listener.stop(drainSeconds: 5) == 0)
            #expect(answer.wait { $0 != nil })
            #expect(answer.value == "served")
        }
    }

    @Test func `an inherited socket goes on listening for the next server`() throws {
        let path = NSTemporaryDirectory() + "fcgi-\(UUID().uuidString.prefix(8))"
        let socket = tg_unix_listen(path, 64, 0o600)
        defer {
            close(socket)
            unlink(path)
        }
        func ask() throws -> FastCGIClient {
            let client = try FastCGIClient(path: path)
            client.send(FastCGIClient.request([]))
            return client
        }
        let given = dup(socket)
        let first = try ListenerStage({ $0.sources = [.inherited(given)] }, handler: Self.say("1"))
        #expect(try ask().answer().text == "1")
        _ = first.listener.stop(drainSeconds: 1)
        let waiting = try ask()
        let again = dup(socket)
        let second = try ListenerStage({ $0.sources = [.inherited(again)] }, handler: Self.say("2"))
        #expect(waiting.answer().text == "2")
        _ = second
    }

    @Test func `a socket that cannot be bound is an error, one that can has its mode`() throws {
        #expect(throws: FastCGIError.self) {
            let nowhere = FastCGISettings.Source.path("/nowhere/s", mode: 0o600, group: nil)
            return try FastCGIListener(settings: FastCGISettings(sources: [nowhere])) { _ in }
        }
        let stage = try ListenerStage(handler: Self.say("x"))
        var info = stat()
        #expect(stat(stage.path, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o600)
    }

    @Test func `a reused descriptor hears nothing of the connection before it`() throws {
        let (alarms, stayed) = (Shared(0), Shared(0))
        let stage = try ListenerStage { exchange in
            if exchange.request.param("STAY") != nil {
                exchange.onDisconnect { alarms.change { $0 += 1 } }
                usleep(2000)
            }
            exchange.response.write(Array("stayed".utf8))
        }
        DispatchQueue.concurrentPerform(iterations: 8) { lane in
            for _ in 0..<50 {
                if lane % 2 == 0 {
                    guard let leaver = try? stage.client() else { continue }
                    leaver.send(FastCGIClient.request([]))
                } else if let answer = try? stage.ask([("STAY", "1")]), answer.text == "stayed" {
                    stayed.change { $0 += 1 }
                }
            }
        }
        #expect(stayed.value == 200)
        #expect(alarms.value == 0)
    }

    @Test func `an action is not begun after the handler has returned`() throws {
        let calls = Shared(0)
        let stage = try ListenerStage { exchange in
            exchange.onDisconnect { calls.change { $0 += 1 } }
            exchange.response.write(Array("done".utf8))
        }
        for _ in 0..<20 {
            let client = try stage.client()
            client.send(FastCGIClient.request([], keeps: true))
            #expect(client.answer().text == "done")
            client.hangUp()
        }
        usleep(50_000)
        #expect(calls.value == 0)
    }

    @Test func `ticks come while nothing else does`() throws {
        let stage = try ListenerStage(handler: Self.say("x"))
        #expect(stage.ticks.wait { $0 > 3 })
    }

    @Test func `the owner's signal handlers stay`() throws {
        // This process has no handlers; libfcgi, once started, must not have left its own.
        let stage = try ListenerStage(handler: Self.say("x"))
        #expect(try stage.ask().text == "x")
        for number in [SIGTERM, SIGUSR1] {
            var now = sigaction()
            sigaction(number, nil, &now)
            let handler = unsafeBitCast(now.__sigaction_handler.sa_handler, to: Int.self)
            #expect([SIG_DFL, SIG_IGN].map { unsafeBitCast($0, to: Int.self) }.contains(handler))
        }
    }

    /// Only root can start a process of another user.
    @Test(.enabled(if: geteuid() == 0, "needs root to connect as another user"))
    func `another user is refused, unless named`() throws {
        let nobody: UInt32 = 65_534
        for (allowed, expected) in [(Set<UInt32>(), false), ([nobody], true)] {
            let stage = try ListenerStage(
                { $0.allowedUsers = allowed },
                handler: Self.say("welcome")
            )
            chmod((stage.path as NSString).deletingLastPathComponent, 0o755)
            chmod(stage.path, 0o666)
            #expect(try Self.ask(stage.path, as: nobody).contains("welcome") == expected)
        }
    }

    private static func ask(_ path: String, as user: UInt32) throws -> String {
        let script = """
            my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 2; $SIG{PIPE} = "IGNORE";
            $s->send(pack("H*", $ARGV[1])); local $/; print <$s>;
            """
        let bytes = FastCGIClient.request([]).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
        process.arguments = [
            "--reuid=\(user)", "--clear-groups", "perl", "-MIO::Socket::UNIX", "-e", script, path,
            bytes.joined(),
        ]
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }
}
