import EngineLink
import Generations
import Glibc
import Testing

@Suite struct StopStringTests {
    @Test func `a stop string ends the text before it, in one token or across many`() {
        for pieces in [
            ["ab", "STOP", "cd"], ["ab", "ST", "OP", "cd"], ["a", "bSTO", "Pcd", "e"],
        ] {
            let run = Run(pieces, stop: ["STOP"])
            #expect(run.text == "ab")
            #expect(run.end == .stop)
            #expect(run.cancelled == [0])
        }
    }

    @Test func `tokens after a stop string are neither shown nor counted`() {
        let run = Run(["a", "X", "b", "c"], stop: ["X"], step: 4)
        #expect(run.text == "a")
        #expect(run.tokens == 2)
        #expect(run.cancelled == [0])
    }

    @Test func `a choice that the engine has ended already is not cancelled`() {
        let run = Run(["a", "X"], stop: ["X"])
        #expect(run.text == "a")
        #expect(run.end == .stop)
        #expect(run.cancelled.isEmpty)
    }

    @Test func `text is held only while it can become a stop string`() {
        let run = Run(["a", "ST", "x", "S", "T", "O", "Q", "b"], stop: ["STOP"])
        #expect(run.deltas == ["a", "STx", "STOQ", "b"])
        #expect(run.end == .length)
    }

    @Test func `held text is shown when the choice ends otherwise`() {
        #expect(Run(["a", "STO"], stop: ["STOP"]).text == "aSTO")
        #expect(Run(["a", "STO", "<eos>"], stop: ["STOP"], finish: .stop).text == "aSTO")
    }

    @Test func `of overlapping stop strings the one that starts first wins`() {
        #expect(Run(["x", "abcd", "y"], stop: ["bc", "abcd"]).text == "x")
        #expect(Run(["x", "a", "b", "c", "d", "y"], stop: ["bc", "abcd"]).text == "x")
        #expect(Run(["x", "a", "b", "c", "e", "y"], stop: ["bc", "abcd"]).text == "xa")
        #expect(Run(["x", "a", "b", "c"], stop: ["bc", "abcd"]).text == "xa")
        #expect(Run(["a", "\n", "\n"], stop: ["\n\n", "\n"]).tokens == 2)
    }

    @Test func `a stop string may repeat its own beginning`() {
        #expect(Run(["a", "a", "a", "b", "c"], stop: ["aab"]).text == "a")
        #expect(Run(["abab", "abac", "x"], stop: ["ababac"]).text == "ab")
    }

    @Test func `characters of many bytes match whole, and only exactly`() {
        let face = Array("😀".utf8)
        let run = Run([Array("a".utf8), Array(face[..<2]), Array(face[2...]), [0x62]], stop: ["😀"])
        #expect(run.text == "a")
        #expect(run.tokens == 3)
        #expect(Run(["😁", "b"], stop: ["😀"]).text == "😁b")
        // Equal to people, not to bytes: é as one scalar and as two.
        #expect(Run(["e\u{301}", "b"], stop: ["\u{E9}"]).text == "e\u{301}b")
    }

    @Test func `before the least number of tokens stop strings do not count`() {
        let run = Run(["X", "a", "X", "b"], stop: ["X"], minTokens: 2)
        #expect(run.text == "Xa")
        #expect(run.tokens == 3)
    }

    @Test func `any cut of any text gives what a search in the whole text gives`() {
        var random = Dice(state: 3)
        for _ in 0..<4000 {
            let text = (0..<random.below(24)).map { _ in ["a", "b", "é"][random.below(3)] }
            let stops = (0...random.below(3)).map { _ in
                (0...random.below(4)).map { _ in ["a", "b", "é"][random.below(3)] }.joined()
            }
            let bytes = Array(text.joined().utf8)
            guard !bytes.isEmpty else { continue }
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = min(rest.count, 1 + random.below(4))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let run = Run(pieces, stop: stops, logprobs: true, step: 1 + random.below(3))
            let match = stops.compactMap { first(of: Array($0.utf8), in: bytes) }.min()
            let expected = String(decoding: bytes[..<(match ?? bytes.count)], as: UTF8.self)
            #expect(run.text == expected)
            #expect(run.end == (match == nil ? .length : .stop))
            // Each byte of the text belongs to a token that is shown.
            let shown = run.reports.flatMap(\.token.bytes)
            #expect(shown.starts(with: expected.utf8))
            #expect(match != nil || shown == bytes)
        }
    }

    @Test func `a long text that nearly matches is searched in linear time`() {
        // Processor time: other processes do not count.
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        func time(_ count: Int) -> Double {
            let pieces = Array(repeating: "aaaaaaaa", count: count)
            let stop = String(repeating: "a", count: 1023) + "b"
            let began = now()
            #expect(Run(pieces, stop: [stop]).text.utf8.count == 8 * count)
            return now() - began
        }
        _ = time(100)
        let small = (0..<5).map { _ in time(1000) }.min() ?? 0
        let large = (0..<5).map { _ in time(32_000) }.min() ?? 0
        // A search in quadratic time takes 1024 times as long.
        #expect(large < small * 150)
    }

    private func first(of needle: [UInt8], in text: [UInt8]) -> Int? {
        guard needle.count <= text.count else { return nil }
        return (0...(text.count - needle.count)).first { text[$0...].starts(with: needle) }
    }
}

/// A small generator, so that a failure can be repeated.
struct Dice {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }
}
