import EngineLink
import Generations
import Testing

@Suite struct TranscriptTests {
    private func transcript(_ choices: Int, firstIndex: Int = 0, stop: [String] = []) -> Transcript
    {
        Transcript(choices: choices, firstIndex: firstIndex, stop: stop) {
            ToyDecoder(["a", "b", "X"].map { Array($0.utf8) })
        }
    }

    @Test func `a choice opens, speaks and ends`() {
        var transcript = transcript(1)
        let first = transcript.consume([TokenEvent(choice: 0, token: 0)])
        #expect(
            first.events
                == [.opened(choice: 0), .text(choice: 0, text: "a", tokens: [])]
        )
        #expect(
            transcript.consume([TokenEvent(choice: 0, token: 1, finish: .length)]).events
                == [
                    .text(choice: 0, text: "b", tokens: []),
                    .finished(choice: 0, reason: .length, tokens: 2),
                ]
        )
        #expect(transcript.isFinished)
        #expect(transcript.completionTokens == 2)
        #expect(transcript.consume([TokenEvent(choice: 0, token: 0)]) == Transcript.Step())
        #expect(transcript.end().isEmpty)
    }

    @Test func `a stop token counts and has no text`() {
        var transcript = transcript(1)
        #expect(
            transcript.consume([TokenEvent(choice: 0, token: 1, finish: .stop)]).events
                == [.opened(choice: 0), .finished(choice: 0, reason: .stop, tokens: 1)]
        )
    }

    @Test func `tokens of one step make one event for each choice`() {
        var transcript = transcript(2, firstIndex: 4)
        let step = transcript.consume([
            TokenEvent(choice: 1, token: 0), TokenEvent(choice: 0, token: 0),
            TokenEvent(choice: 1, token: 1), TokenEvent(choice: 9, token: 1),
            TokenEvent(choice: -1, token: 1),
        ])
        #expect(
            step.events == [
                .opened(choice: 5), .text(choice: 5, text: "ab", tokens: []),
                .opened(choice: 4), .text(choice: 4, text: "a", tokens: []),
            ]
        )
    }

    @Test func `a stop string ends its own choice only`() {
        var transcript = transcript(2, firstIndex: 2, stop: ["X"])
        let step = transcript.consume([
            TokenEvent(choice: 0, token: 2), TokenEvent(choice: 1, token: 0),
        ])
        #expect(step.cancelled == [0])
        #expect(!transcript.isFinished)
        let more = transcript.consume([
            TokenEvent(choice: 0, token: 1), TokenEvent(choice: 1, token: 1, finish: .length),
        ])
        #expect(
            more.events == [
                .text(choice: 3, text: "b", tokens: []),
                .finished(choice: 3, reason: .length, tokens: 2),
            ]
        )
        #expect(transcript.completionTokens == 3)
    }

    @Test func `a failure is said once and is the end`() {
        var transcript = transcript(2)
        _ = transcript.consume([TokenEvent(choice: 0, token: 0, finish: .length)])
        #expect(transcript.end() == [.failed(.engineFailed)])
        #expect(transcript.fail(.stopping).isEmpty)
        #expect(transcript.consume([TokenEvent(choice: 1, token: 0)]) == Transcript.Step())
    }

    @Test func `a character that never completes becomes a replacement character`() {
        let run = Run([[0x61], [0xF0, 0x9F]])
        #expect(run.text == "a\u{FFFD}")
        #expect(run.tokens == 2)
    }

    @Test func `logprobs come with the text that their tokens complete`() throws {
        let face = Array("😀".utf8)
        let run = Run(
            [Array("é".utf8), Array(face[..<2]), Array(face[2...]), [0x62], []],
            logprobs: true
        )
        #expect(run.deltas == ["é", "😀", "b", ""])
        #expect(run.reports.map(\.token.id) == [0, 1, 2, 3, 4])
        #expect(run.reports.map(\.textOffset) == [0, 1, 1, 2, 3])
        #expect(run.reports.map(\.token.logprob) == [0, -1, -2, -3, -4])
        #expect(run.reports.flatMap(\.token.bytes) == Array("é😀b".utf8))
        #expect(run.reports.map { $0.top.map(\.id) } == [[0], [1], [2], [3], [4]])
    }

    @Test func `logprobs are held with their text and dropped with a stop string`() {
        let run = Run(["a", "bS", "TO", "P"], stop: ["STOP"], logprobs: true)
        #expect(run.text == "ab")
        #expect(run.reports.map(\.token.id) == [0, 1])
        let freed = Run(["a", "ST", "x"], stop: ["STOP"], logprobs: true)
        #expect(freed.deltas == ["a", "STx"])
        #expect(freed.reports.map(\.token.id) == [0, 1, 2])
    }

    @Test func `a stop token has no logprobs`() {
        let run = Run(["a", "<eos>"], finish: .stop, logprobs: true)
        #expect(run.text == "a")
        #expect(run.reports.map(\.token.id) == [0])
    }

    @Test func `however steps are cut the text is the same`() {
        let pieces = ["He", "llo", " w", "or", "ld", " EN", "D", " x"]
        for step in 1...8 {
            #expect(Run(pieces, stop: ["END"], step: step).text == "Hello world ")
        }
    }
}
