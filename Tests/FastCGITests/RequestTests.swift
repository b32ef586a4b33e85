import CLinux
import FastCGI
import Foundation
import Testing

@Suite struct RequestTests {
    /// Answers with the body's state, a parameter and the body.
    private static let echo: @Sendable (FastCGIExchange) -> Void = { exchange in
        let request = exchange.request
        exchange.response.writeHead(
            status: 200,
            headers: [
                ("X-State", "\(request.bodyState)"), ("X-Name", request.param("NAME") ?? "-"),
            ]
        )
        exchange.response.write(request.body)
    }

    @Test(arguments: [0, 1, 31_999, 32_000, 65_535, 65_536, 1_000_000])
    func `parameters and body arrive whole, and so does the answer`(count: Int) throws {
        let stage = try ListenerStage(handler: Self.echo)
        let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let answer = try stage.ask([("NAME", "ü=1"), ("NAME", "second")], body: body)
        #expect(answer.head == ["Status: 200", "X-State: complete", "X-Name: ü=1"])
        #expect(answer.body == body)
        #expect(answer.isWhole)
    }

    @Test func `padding and small pieces change nothing`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let client = try stage.client()
        let name = String(repeating: "x", count: 300)
        let bytes = FastCGIClient.request([("NAME", name)], body: Array("hello".utf8), padding: 5)
        for start in stride(from: 0, to: bytes.count, by: 13) {
            client.send(Array(bytes[start..<min(bytes.count, start + 13)]))
            usleep(200)
        }
        let answer = client.answer()
        #expect(answer.head.contains("X-Name: \(name)"))
        #expect(answer.text == "hello")
    }

    @Test func `a body above the limit is dropped and said to be too large`() throws {
        let stage = try ListenerStage({ $0.maxBodyBytes = 1000 }, handler: Self.echo)
        let body = [UInt8](repeating: 7, count: 1001)
        let answer = try stage.ask(body: body)
        #expect(answer.head.contains("X-State: tooLarge"))
        #expect(answer.body.isEmpty)
        #expect(try stage.ask(body: Array(body.dropLast())).head.contains("X-State: complete"))
    }

    @Test(arguments: [
        ("-1", "truncated"), ("99999999999999999999999", "truncated"), ("x", "truncated"),
        ("1e3", "truncated"), ("", "complete"),
    ])
    func `an announced length that is no number never comes`(length: String, state: String) throws {
        let stage = try ListenerStage(handler: Self.echo)
        let client = try stage.client()
        client.send(FastCGIClient.request([("CONTENT_LENGTH", length)]))
        #expect(client.answer().head.contains("X-State: \(state)"))
    }

    @Test func `what a handler left of a body is not taken for the next request`() throws {
        let stage = try ListenerStage({ $0.maxBodyBytes = 1000 }, handler: Self.echo)
        let client = try stage.client()
        let long = [UInt8](repeating: 1, count: 500_000)
        client.send(FastCGIClient.request([("NAME", "long")], body: long, keeps: true))
        #expect(client.answer().head.contains("X-State: tooLarge"))
        client.send(FastCGIClient.request([("NAME", "next")], body: [66], keeps: true))
        let answer = client.answer()
        #expect(answer.head.last == "X-Name: next")
        #expect(answer.text == "B")
    }

    @Test func `100,000 records of one byte neither grow nor stall`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let client = try stage.client()
        let body = [UInt8](repeating: 0x78, count: 100_000)
        client.send(FastCGIClient.request([], body: body, padding: 7, recordBytes: 1))
        #expect(client.answer().body == body)
    }

    @Test func `a slow body holds one worker and nobody else`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let slow = try stage.client()
        let bytes = FastCGIClient.request([], body: [65, 66, 67])
        slow.send(Array(bytes.dropLast(10)))
        for _ in 0..<20 { #expect(try stage.ask(body: [1]).status == "200") }
        slow.send(Array(bytes.suffix(10)))
        #expect(slow.answer().text == "ABC")
    }

    @Test func `each flush sends what was written, in one record`() throws {
        let seen = Shared(0)
        let stage = try ListenerStage { exchange in
            for (count, word) in ["a", "b", "c"].enumerated() {
                exchange.response.write(Array(word.utf8))
                exchange.response.flush()
                _ = seen.wait { $0 > count }
            }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        for wanted in ["Status: 200\r\n\r\na", "b", "c"] {
            #expect(client.record().map { String(decoding: $0.content, as: UTF8.self) } == wanted)
            seen.change { $0 += 1 }
        }
    }

    @Test func `an announced length of exabytes allocates nothing`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let answer = try stage.ask(announced: Int.max)
        #expect(answer.head.contains("X-State: tooLarge"))
    }

    @Test func `bodies beyond what all may hold are refused unread, and room comes back`() throws {
        let (isOpen, inside) = (Shared(false), Shared(0))
        let stage = try ListenerStage({ $0.maxBodyBytesInHand = 1000 }) { exchange in
            let isFirst = exchange.request.param("NAME") == "first"
            if exchange.request.param("NAME") == "early" { exchange.dropBody() }
            if isFirst {
                inside.change { $0 += 1 }
                _ = isOpen.wait { $0 }
            }
            exchange.response.write(Array("\(exchange.request.bodyState)".utf8))
        }
        let body = [UInt8](repeating: 1, count: 600)
        let first = try stage.client()
        first.send(FastCGIClient.request([("NAME", "first")], body: body))
        try #require(inside.wait { $0 == 1 })
        #expect(try stage.ask(body: body).text == "noRoom")
        #expect(try stage.ask(body: Array(body.prefix(400))).text == "complete")
        isOpen.change { $0 = true }
        #expect(first.answer().text == "complete")
        for _ in 0..<5 {
            #expect(try stage.ask([("NAME", "early")], body: body).text == "complete")
        }
    }

    @Test func `a body that ends early is truncated and not handed on`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        #expect(try stage.ask(body: [1, 2, 3], announced: 10).head.contains("X-State: truncated"))
        let client = try stage.client()
        let bytes = FastCGIClient.request([], body: .init(repeating: 1, count: 5000))
        client.send(Array(bytes.dropLast(3000)))
        client.endSending()
        let answer = client.answer()
        #expect(answer.head.contains("X-State: truncated") || answer.head.isEmpty)
        #expect(answer.body.isEmpty)
    }

    @Test func `too many parameters are refused without the handler`() throws {
        let seen = Shared(0)
        let stage = try ListenerStage({ $0.maxParameterBytes = 1000 }) { _ in
            seen.change { $0 += 1 }
        }
        #expect(try stage.ask([("A", String(repeating: "a", count: 2000))]).status == "431")
        #expect(seen.value == 0)
    }

    @Test func `line ends in headers cannot smuggle a header or a body in`() throws {
        let stage = try ListenerStage { exchange in
            exchange.response.writeHead(
                status: 200,
                headers: [
                    ("X-A", "1\r\nX-Evil: 2\r\n\r\nbody"), ("X-B\r\nX-Evil", "\n3\u{0}"),
                    ("X-C", "ü"),
                ]
            )
            exchange.response.writeHead(status: 500, headers: [("X-Evil", "4")])
            exchange.response.write(Array("real".utf8))
        }
        let answer = try stage.ask()
        #expect(
            answer.head == ["Status: 200", "X-A: 1X-Evil: 2body", "X-BX-Evil: 3", "X-C: ü"]
        )
        #expect(answer.text == "real")
    }

    @Test func `a handler without an answer is an error, one without a head is a 200`() throws {
        let silent = try ListenerStage { _ in }
        #expect(try silent.ask().status == "500")
        let headless = try ListenerStage { $0.response.write(Array("x".utf8)) }
        let answer = try headless.ask()
        #expect(answer.status == "200")
        #expect(answer.text == "x")
    }

    @Test func `a kept connection serves one request after the other`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let client = try stage.client()
        for round in 0..<20 {
            let body = Array("round \(round)".utf8)
            client.send(FastCGIClient.request([("NAME", "\(round)")], body: body, keeps: true))
            let answer = client.answer()
            #expect(answer.body == body)
            #expect(answer.head.last == "X-Name: \(round)")
        }
        client.send(FastCGIClient.request([], keeps: false))
        #expect(client.answer().isWhole)
        #expect(client.isAtEnd())
    }

    @Test func `garbage costs its own connection only`() throws {
        let stage = try ListenerStage(handler: Self.echo)
        let whole = FastCGIClient.request([("NAME", "a")], body: Array("hello".utf8))
        var state: UInt64 = 42
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for round in 0..<400 {
            var bytes = whole
            switch round % 3 {
            case 0: bytes = (0..<1 + next(300)).map { _ in UInt8(next(256)) }
            case 1: for _ in 0...next(4) { bytes[next(bytes.count)] = UInt8(next(256)) }
            default: bytes.removeLast(next(bytes.count))
            }
            let client = try stage.client()
            client.send(bytes)
            client.endSending()
        }
        #expect(try stage.ask([("NAME", "b")], body: [65]).text == "A")
    }
}
