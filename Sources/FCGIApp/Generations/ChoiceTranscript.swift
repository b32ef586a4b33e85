import EngineLink

/// One choice: its tokens become text, the text is searched for stop strings, and what is certain
/// goes out together with the logprobs of its tokens.
struct ChoiceTranscript: Sendable {
    /// Tokens whose text is one stretch: several where a character takes more than one.
    private struct Group {
        let start: Int
        let end: Int
        let reports: [TokenReport]
    }

    private var decoder: any TokenDecoder
    private var cursor = StopMatcher.Cursor()
    /// Bytes and scalars decoded so far; positions in the text are in bytes.
    private var decoded = 0
    private var decodedScalars = 0
    /// Text from `released` on, which may become part of a stop string.
    private var held: [UInt8] = []
    private var released = 0
    /// Reports whose text is held.
    private var groups: [Group] = []
    /// Reports of tokens that have no text yet.
    private var textless: [TokenReport] = []

    /// Text and reports that are certain and not taken yet.
    private var text = ""
    private var reports: [TokenReport] = []

    /// Tokens drawn, up to the end.
    private(set) var tokenCount = 0
    /// Set when the choice is over.
    private(set) var end: ChoiceEnd?

    init(decoder: any TokenDecoder) { self.decoder = decoder }

    /// Takes a token; nothing happens after the end.
    mutating func consume(_ event: TokenEvent, _ rules: Transcript.Rules) {
        guard end == nil else { return }
        tokenCount += 1
        // A stop token has no text.
        if event.finish != .stop {
            let piece = decoder.append(event.token)
            if rules.logprobs { textless.append(report(event)) }
            add(piece, rules)
        }
        guard end == nil, let finish = event.finish else { return }
        add(decoder.finish(), rules)
        guard end == nil else { return }
        if let match = cursor.match { return stop(at: match) }
        groups.append(Group(start: decoded, end: decoded, reports: textless))
        release(to: decoded)
        end = finish == .stop ? .stop : .length
    }

    /// Ends the choice without more text.
    mutating func abandon() {
        if end == nil { end = .stop }
    }

    /// The text and reports that became certain since the last call.
    mutating func take() -> (text: String, reports: [TokenReport]) {
        defer {
            text = ""
            reports = []
        }
        return (text, reports)
    }

    private func report(_ event: TokenEvent) -> TokenReport {
        TokenReport(
            token: .init(
                id: event.token,
                bytes: decoder.bytes(of: event.token),
                logprob: event.logprob ?? -.infinity
            ),
            top: event.top.map {
                .init(id: $0.token, bytes: decoder.bytes(of: $0.token), logprob: $0.logprob)
            },
            textOffset: decodedScalars
        )
    }

    private mutating func add(_ piece: String, _ rules: Transcript.Rules) {
        guard !piece.isEmpty else { return }
        let start = decoded
        decoded += piece.utf8.count
        if rules.logprobs {
            decodedScalars += piece.unicodeScalars.count
            groups.append(Group(start: start, end: decoded, reports: textless))
            textless = []
        }
        guard let matcher = rules.stop else {
            text += piece
            released = decoded
            return releaseGroups()
        }
        held += piece.utf8
        if tokenCount < rules.minTokens {
            cursor.skip(piece.utf8.count)
        } else {
            let isFound = piece.utf8.contains { cursor.advance($0, in: matcher) }
            if isFound { return stop(at: cursor.match ?? decoded) }
        }
        release(to: cursor.safe(in: matcher))
    }

    /// Ends the choice before the stop string that starts at `match`.
    private mutating func stop(at match: Int) {
        // A token that has a part of its text before the stop string is part of the answer.
        groups.removeAll { $0.start >= match }
        release(to: match)
        reports += groups.flatMap(\.reports)
        groups = []
        held = []
        end = .stop
    }

    private mutating func release(to position: Int) {
        let count = min(held.count, max(0, position - released))
        if count > 0 {
            // Stop strings start and end at whole characters, and so does what is not part of one.
            text += String(decoding: held[..<count], as: UTF8.self)
            held.removeFirst(count)
        }
        released += count
        releaseGroups()
    }

    private mutating func releaseGroups() {
        let ready = groups.prefix { $0.end <= released }.count
        guard ready > 0 else { return }
        reports += groups[..<ready].flatMap(\.reports)
        groups.removeFirst(ready)
    }
}
