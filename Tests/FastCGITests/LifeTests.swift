import CLinux
import FastCGI
import Foundation
import Testing

@Suite struct LifeTests {
    @Test func `a silent handler hears of a client that left soon`() throws {
        let (isIn, left) = (Shared(false), Shared(UInt64(0)))
        let stage = try ListenerStage { exchange in
            exchange.onDisconnect { left.change { $0 = tg_monotonic_ns() } }
            isIn.change { $0 = true }
            _ = left.wait { $0 > 0 }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        try #require(isIn.wait { $0 })
        usleep(20_000)
        #expect(left.value == 0)
        let start = tg_monotonic_ns()
        client.hangUp()
        try #require(left.wait { $0 > 0 })
        #expect(left.value - start < 500_000_000)
    }

    @Test func `a writing handler hears of a client that left soon`() throws {
        let (written, left) = (Shared(0), Shared(UInt64(0)))
        let stage = try ListenerStage { exchange in
            for _ in 0..<100_000 {
                exchange.response.write(Array("data: x\n\n".utf8))
                if !exchange.response.flush() { break }
                written.change { $0 += 1 }
                usleep(2000)
            }
            left.change { $0 = tg_monotonic_ns() }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        try #require(written.wait { $0 > 3 })
        let start = tg_monotonic_ns()
        client.hangUp()
        try #require(left.wait { $0 > 0 })
        #expect(left.value - start < 500_000_000)
    }

    @Test func `a client that left before the handler asked is told at once`() throws {
        let told = Shared<Bool?>(nil)
        let stage = try ListenerStage { exchange in
            let end = tg_monotonic_ns() + 2_000_000_000
            while !exchange.isDisconnected, tg_monotonic_ns() < end { usleep(1000) }
            let heard = Shared(false)
            exchange.onDisconnect { heard.change { $0 = true } }
            told.change { $0 = heard.value }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        client.hangUp()
        #expect(told.wait { $0 != nil })
        #expect(told.value == true)
    }

    @Test func `beyond the cap the overload answer comes at once, and room comes back`() throws {
        let (isOpen, inside) = (Shared(false), Shared(0))
        let stage = try ListenerStage({ $0.maxExchanges = 2 }) { exchange in
            inside.change { $0 += 1 }
            _ = isOpen.wait { $0 }
            exchange.response.write(Array("served".utf8))
        }
        let first = [try stage.client(), try stage.client()]
        for client in first { client.send(FastCGIClient.request([])) }
        try #require(inside.wait { $0 == 2 })
        let start = tg_monotonic_ns()
        for _ in 0..<20 {
            let answer = try stage.ask()
            #expect(answer.status == "503")
            #expect(answer.head.contains("Retry-After: 1"))
        }
        #expect(tg_monotonic_ns() - start < 2_000_000_000)
        isOpen.change { $0 = true }
        for client in first { #expect(client.answer().text == "served") }
        let end = tg_monotonic_ns() + 5_000_000_000
        while stage.listener.exchanges > 0, tg_monotonic_ns() < end { usleep(1000) }
        #expect(try stage.ask().text == "served")
    }

    @Test func `300 exchanges run at once and keep their bodies apart`() throws {
        let inside = Shared(0)
        let stage = try ListenerStage { exchange in
            inside.change { $0 += 1 }
            _ = inside.wait(seconds: 8) { $0 == 300 }
            exchange.response.write(exchange.request.body)
        }
        var clients: [FastCGIClient] = []
        for number in 0..<300 {
            let client = try stage.client()
            client.send(FastCGIClient.request([], body: Array("body \(number)".utf8)))
            clients.append(client)
        }
        for (number, client) in clients.enumerated() {
            #expect(client.answer().text == "body \(number)")
        }
        #expect(inside.value == 300)
    }

    @Test func `stopping waits for what runs and takes nothing new`() throws {
        let inside = Shared(0)
        let stage = try ListenerStage { exchange in
            inside.change { $0 += 1 }
            usleep(150_000)
            exchange.response.write(Array("done".utf8))
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        try #require(inside.wait { $0 == 1 })
        #expect(stage.listener.stop(drainSeconds: 5) == 0)
        #expect(client.answer().text == "done")
        #expect(throws: FastCGIClient.Trouble.self) { try stage.client() }
    }

    @Test func `stopping says how many are left when the time is over`() throws {
        let (isOpen, inside) = (Shared(false), Shared(0))
        let stage = try ListenerStage { exchange in
            inside.change { $0 += 1 }
            _ = isOpen.wait { $0 }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([]))
        try #require(inside.wait { $0 == 1 })
        let start = tg_monotonic_ns()
        #expect(stage.listener.stop(drainSeconds: 0.1) == 1)
        #expect(tg_monotonic_ns() - start < 1_000_000_000)
        isOpen.change { $0 = true }
        #expect(client.answer().isWhole)
    }

    @Test func `a kept connection that outlives the listener's run is closed`() throws {
        let (isOpen, inside) = (Shared(false), Shared(0))
        let stage = try ListenerStage { exchange in
            inside.change { $0 += 1 }
            _ = isOpen.wait { $0 }
        }
        let client = try stage.client()
        client.send(FastCGIClient.request([], keeps: true))
        try #require(inside.wait { $0 == 1 })
        stage.listener.finish()
        isOpen.change { $0 = true }
        #expect(client.answer().isWhole)
        #expect(client.isAtEnd())
    }

    @Test func `an inherited listener serves, and what is none is refused`() throws {
        let stage = try ListenerStage(inherits: true) { $0.response.write(Array("x".utf8)) }
        #expect(try stage.ask().text == "x")
        #expect(throws: FastCGIError.self) {
            try FastCGIListener(settings: FastCGISettings(sources: [.inherited(2)])) { _ in }
        }
    }

    @Test func `a connection that says nothing is closed`() throws {
        let stage = try ListenerStage({ $0.freshTimeout = 0.1 }) { $0.response.write([65]) }
        #expect(try stage.client().isAtEnd())
        #expect(try stage.ask().text == "A")
    }
}
