import CLinux
import FastCGI
import Foundation
import TestSupport
import Testing

@Suite struct ExchangeTests {
    @Test func `parameters and body arrive, the answer goes back`() throws {
        let house = try House { exchange in
            let request = exchange.request
            let names = request.parameters.keys.sorted().joined(separator: ",")
            answer(
                exchange,
                "\(request.param("A") ?? "-") \(request.param("EMPTY") ?? "-") \(names) "
                    + "\(request.bodyState) \(String(decoding: request.body, as: UTF8.self))"
            )
        }
        defer { house.end() }
        let reply = try #require(
            FastCGIClient.ask(
                house.path,
                [
                    ("A", "first=1"), ("A", "second"), ("EMPTY", ""),
                    ("LONG", String(repeating: "x", count: 300)),
                ],
                body: Array("hello".utf8)
            )
        )
        #expect(reply.status == 200)
        #expect(reply.isEnded)
        #expect(
            String(decoding: reply.body, as: UTF8.self)
                == "first=1 - A,CONTENT_LENGTH,EMPTY,FCGI_ROLE,LONG complete hello"
        )
    }

    @Test func `a body of megabytes in small and large records is whole`() throws {
        let house = try House { exchange in
            let sum = exchange.request.body.reduce(UInt64(0)) { ($0 &* 31) &+ UInt64($1) }
            answer(exchange, "\(exchange.request.body.count) \(sum)")
        }
        defer { house.end() }
        let body = (0..<3_000_017).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        let sum = body.reduce(UInt64(0)) { ($0 &* 31) &+ UInt64($1) }
        for size in [977, 65_535] {
            let client = try #require(FastCGIClient(path: house.path))
            client.begin([("CONTENT_LENGTH", String(body.count))])
            client.body(body, size: size)
            #expect(String(decoding: client.reply().body, as: UTF8.self) == "\(body.count) \(sum)")
        }
    }

    @Test func `a body longer than allowed is said so and does not fill memory`() throws {
        let house = try House(change: { $0.maxBodyBytes = 1000 }) { exchange in
            exchange.response.writeHead(
                status: exchange.request.bodyState == .tooLarge ? 413 : 200,
                headers: []
            )
        }
        defer { house.end() }
        let limit = [UInt8](repeating: 1, count: 1000)
        #expect(FastCGIClient.ask(house.path, body: limit)?.status == 200)
        #expect(FastCGIClient.ask(house.path, body: limit + [1])?.status == 413)
        let reply = FastCGIClient.ask(house.path, body: [UInt8](repeating: 1, count: 5_000_000))
        #expect(reply?.status == 413)
    }

    @Test func `a body that ends early or has no length is truncated`() throws {
        let house = try House { exchange in answer(exchange, "\(exchange.request.bodyState)") }
        defer { house.end() }
        for length in ["10", "-3", "ten", "99999999999999999999"] {
            let client = try #require(FastCGIClient(path: house.path))
            client.begin([("CONTENT_LENGTH", length)])
            client.body(Array("four".utf8))
            #expect(
                String(decoding: client.reply().body, as: UTF8.self) == "truncated",
                "\(length)"
            )
        }
        let empty = try #require(FastCGIClient.ask(house.path, [("CONTENT_LENGTH", "")]))
        #expect(String(decoding: empty.body, as: UTF8.self) == "complete")
    }

    @Test func `a slow body holds one worker and nobody else`() throws {
        let house = try House { exchange in answer(exchange, "\(exchange.request.body.count)") }
        defer { house.end() }
        let slow = try #require(FastCGIClient(path: house.path))
        slow.begin([("CONTENT_LENGTH", "3")])
        slow.send(.input, [1])
        for _ in 0..<20 { #expect(FastCGIClient.ask(house.path)?.status == 200) }
        slow.send(.input, [2])
        slow.body([3])
        #expect(String(decoding: slow.reply().body, as: UTF8.self) == "3")
    }

    @Test func `too many parameters are refused`() throws {
        let house = try House(change: { $0.maxParameterBytes = 1000 }) { answer($0, "ok") }
        defer { house.end() }
        let many = (0..<100).map { ("NAME_\($0)", "0123456789") }
        #expect(FastCGIClient.ask(house.path, many)?.status == 431)
        #expect(FastCGIClient.ask(house.path, Array(many.prefix(5)))?.status == 200)
    }

    @Test func `control characters cannot smuggle a header line in`() throws {
        let house = try House { exchange in
            exchange.response.writeHead(
                status: 200,
                headers: [("X-A", "one\r\nX-Evil: 1\u{0}"), ("X-\nB", "two")]
            )
            exchange.response.write([0x21])
        }
        defer { house.end() }
        let reply = try #require(FastCGIClient.ask(house.path))
        #expect(reply.header("X-Evil") == nil)
        #expect(reply.header("X-A") == "oneX-Evil: 1")
        #expect(reply.header("X-B") == "two")
    }

    @Test func `a handler that writes nothing is a 500, a body without a head a 200`() throws {
        let house = try House { exchange in
            guard exchange.request.param("SAY") != nil else { return }
            exchange.response.write(Array("said".utf8))
            exchange.response.writeHead(status: 404, headers: [])
        }
        defer { house.end() }
        #expect(FastCGIClient.ask(house.path)?.status == 500)
        let said = try #require(FastCGIClient.ask(house.path, [("SAY", "1")]))
        #expect(said.status == 200)
        #expect(said.body == Array("said".utf8))
    }

    @Test func `each flush sends what was written at once`() throws {
        let go = DispatchSemaphore(value: 0)
        let flushes = Box(0)
        let house = try House { exchange in
            exchange.response.writeHead(status: 200, headers: [])
            for word in ["a", "b", "c"] {
                exchange.response.write(Array(word.utf8))
                exchange.response.flush()
                go.wait()
            }
            flushes.set(exchange.response.flushes)
        }
        defer { house.end() }
        let client = try #require(FastCGIClient(path: house.path))
        client.begin([])
        client.body([])
        var seen: [String] = []
        while let record = client.record(), record.kind == .output, !record.content.isEmpty {
            seen.append(String(decoding: record.content, as: UTF8.self))
            go.signal()
        }
        #expect(seen == ["Status: 200\r\n\r\na", "b", "c"])
        #expect(flushes.value == 3)
    }

    @Test func `a kept connection serves one request after the other`() throws {
        let house = try House { exchange in answer(exchange, exchange.request.param("N") ?? "") }
        defer { house.end() }
        let client = try #require(FastCGIClient(path: house.path))
        for number in 0..<50 {
            client.begin([("N", "\(number)")], keep: number < 49)
            client.body([])
            let reply = client.reply(leaving: false)
            #expect(String(decoding: reply.body, as: UTF8.self) == "\(number)")
        }
        #expect(client.isClosedByServer())
    }
}
