import EngineLink
import Generations

/// Tokens are places in a list of byte strings; incomplete UTF-8 waits, as in the real decoder.
struct ToyDecoder: TokenDecoder {
    let pieces: [[UInt8]]
    var pending: [UInt8] = []

    init(_ pieces: [[UInt8]]) { self.pieces = pieces }

    mutating func append(_ token: Int32) -> String {
        pending += bytes(of: token)
        // The longest start that is whole UTF-8; a broken byte would be let through as U+FFFD.
        var count = pending.count
        while count > max(0, pending.count - 4),
            String(validating: pending[..<count], as: UTF8.self) == nil
        { count -= 1 }
        defer { pending.removeFirst(count) }
        return String(decoding: pending[..<count], as: UTF8.self)
    }

    mutating func finish() -> String {
        defer { pending = [] }
        return String(decoding: pending, as: UTF8.self)
    }

    func bytes(of token: Int32) -> [UInt8] {
        pieces.indices.contains(Int(token)) ? pieces[Int(token)] : []
    }
}

/// A transcript of one choice whose tokens are `pieces`, and what came out of it.
struct Run {
    var text = ""
    var deltas: [String] = []
    var reports: [TokenReport] = []
    var end: ChoiceEnd?
    var tokens: Int?
    var cancelled: [Int] = []

    init(
        _ pieces: [[UInt8]],
        stop: [String] = [],
        finish: EngineFinish = .length,
        logprobs: Bool = false,
        minTokens: Int = 0,
        step: Int = 1
    ) {
        var transcript = Transcript(
            choices: 1,
            stop: stop,
            logprobs: logprobs,
            minTokens: minTokens,
            decoder: { ToyDecoder(pieces) }
        )
        let events = pieces.indices.map { place in
            TokenEvent(
                choice: 0,
                token: Int32(place),
                logprob: -Float(place),
                top: [TokenLogprob(token: Int32(place), logprob: -Float(place))],
                finish: place == pieces.count - 1 ? finish : nil
            )
        }
        for place in stride(from: 0, to: events.count, by: step) {
            let taken = transcript.consume(Array(events[place...].prefix(step)))
            cancelled += taken.cancelled
            for event in taken.events {
                switch event {
                case .text(_, let text, let tokens):
                    deltas.append(text)
                    self.text += text
                    reports += tokens
                case .finished(_, let reason, let tokens):
                    end = reason
                    self.tokens = tokens
                default: break
                }
            }
        }
    }

    init(
        _ pieces: [String],
        stop: [String] = [],
        finish: EngineFinish = .length,
        logprobs: Bool = false,
        minTokens: Int = 0,
        step: Int = 1
    ) {
        self.init(
            pieces.map { Array($0.utf8) },
            stop: stop,
            finish: finish,
            logprobs: logprobs,
            minTokens: minTokens,
            step: step
        )
    }
}
