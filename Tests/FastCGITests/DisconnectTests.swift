import CLinux
import FastCGI
import Foundation
import TestSupport
import Testing

@Suite struct DisconnectTests {
    @Test func `a client that leaves a silent handler is noticed within milliseconds`() throws {
        let began = DispatchSemaphore(value: 0)
        let noticed = Box<UInt64>(0)
        let seen = Box(false)
        let house = try House { exchange in
            let wake = DispatchSemaphore(value: 0)
            exchange.onDisconnect {
                noticed.set(tg_monotonic_ns())
                wake.signal()
            }
            began.signal()
            _ = wake.wait(timeout: .now() + 5)
            seen.set(exchange.isDisconnected)
        }
        defer { house.end() }
        var worst: UInt64 = 0
        for _ in 0..<10 {
            noticed.set(0)
            let client = try #require(FastCGIClient(path: house.path))
            client.begin([])
            client.body([])
            began.wait()
            let left = tg_monotonic_ns()
            client.leave()
            #expect(holds(within: 2) { noticed.value != 0 })
            worst = max(worst, noticed.value - min(left, noticed.value))
        }
        #expect(worst < 200_000_000, "\(worst) ns")
        #expect(holds(within: 1) { house.listener.exchanges == 0 })
        #expect(seen.value)
    }

    @Test func `a client that leaves a writing handler shows as false from flush, for good`() throws
    {
        let flushed = Box<[Bool]>([])
        let house = try House { exchange in
            exchange.response.writeHead(status: 200, headers: [])
            var alive = true
            while alive {
                exchange.response.write([UInt8](repeating: 0x61, count: 100))
                alive = exchange.response.flush()
                usleep(1000)
            }
            let later = (0..<3).map { _ -> Bool in
                exchange.response.write([1])
                return exchange.response.flush()
            }
            flushed.set([exchange.isDisconnected, exchange.response.isClosed] + later)
        }
        defer { house.end() }
        let client = try #require(FastCGIClient(path: house.path))
        client.begin([])
        client.body([])
        #expect(client.record()?.kind == .output)
        client.leave()
        #expect(holds(within: 2) { flushed.value == [true, true, false, false, false] })
    }

    @Test func `an action set after the client left runs at once, and never after the handler`()
        throws
    {
        let go = DispatchSemaphore(value: 0)
        let calls = Box(0)
        let house = try House { exchange in
            go.wait()
            guard exchange.request.param("LATE") != nil else {
                exchange.onDisconnect { calls.change { $0 += 100 } }
                return answer(exchange, "done")
            }
            _ = holds(within: 2) { exchange.isDisconnected }
            exchange.onDisconnect { calls.change { $0 += 1 } }
        }
        defer { house.end() }
        let client = try #require(FastCGIClient(path: house.path))
        client.begin([("LATE", "1")])
        client.body([])
        client.leave()
        go.signal()
        #expect(holds(within: 2) { calls.value == 1 })
        go.signal()
        #expect(FastCGIClient.ask(house.path)?.status == 200)
        usleep(20_000)
        #expect(calls.value == 1)
    }

    @Test func `a reused descriptor never hears of the connection before it`() throws {
        let false_alarms = Box(0)
        let house = try House { exchange in
            guard exchange.request.param("STAY") != nil else { return answer(exchange, "x") }
            exchange.onDisconnect { false_alarms.change { $0 += 1 } }
            usleep(3000)
            answer(exchange, "stayed")
        }
        defer { house.end() }
        let stayed = Box(0)
        DispatchQueue.concurrentPerform(iterations: 8) { lane in
            for _ in 0..<100 {
                if lane % 2 == 0 {
                    let leaver = FastCGIClient(path: house.path)
                    leaver?.begin([])
                    leaver?.body([])
                } else if let reply = FastCGIClient.ask(house.path, [("STAY", "1")]),
                    String(decoding: reply.body, as: UTF8.self) == "stayed"
                {
                    stayed.change { $0 += 1 }
                }
            }
        }
        #expect(stayed.value == 400)
        #expect(false_alarms.value == 0)
    }
}
