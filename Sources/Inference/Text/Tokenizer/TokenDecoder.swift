/// How token texts become text again (`decoder` of `tokenizer.json`).
///
/// It is written as a machine that takes one token at a time, so that streaming and decoding at
/// once cannot differ.
struct TokenDecoder: Sendable {
    /// A change of one token's text.
    enum Step: Sendable {
        case replace(TextPattern, with: [UInt8])
        /// The mark becomes a space; in the first token it vanishes, where `dropsFirst` is set.
        case metaspace(mark: [UInt8], dropsFirst: Bool)
        case strip(Strip)
    }

    /// Up to `start` times `content` away from the beginning and up to `stop` times from the end.
    struct Strip: Sendable, Hashable {
        var content: [UInt8]
        var start = 0
        var stop = 0
    }

    /// The three kinds of decoders.
    enum Kind: Sendable {
        /// Tokens are bytes; invalid UTF-8 becomes U+FFFD.
        case byteLevel
        /// No decoder: tokens are joined with spaces.
        case spaced
        /// Steps on tokens, bytes from `<0xNN>`, more steps, and a strip of the joined text.
        case chain(Chain)
        /// A suffix that marks word ends becomes a space, except at the end of the text.
        case suffix([UInt8])
    }

    /// A sequence of decoders.
    struct Chain: Sendable {
        var before: [Step] = []
        var byteFallback = false
        var after: [Step] = []
        var fuses = false
        var whole: [Strip] = []
    }

    /// What a stream of tokens has to remember.
    struct State: Sendable {
        fileprivate var started = false
        /// Bytes that may be the beginning of a scalar, or a run of `<0xNN>` tokens.
        fileprivate var pending: [UInt8] = []
        /// The last token, where its form depends on whether more follow.
        fileprivate var held: [UInt8]?
        /// How many characters each whole strip still may take; and what it holds back at the end.
        fileprivate var strips: [(left: Int, tail: Int)] = []
    }

    let kind: Kind

    init(_ kind: Kind) { self.kind = kind }

    /// The state before the first token.
    var initialState: State {
        var state = State()
        if case .chain(let chain) = kind { state.strips = chain.whole.map { ($0.start, 0) } }
        return state
    }

    /// The bytes that a token stands for, as it is stored for decoding.
    func stored(_ text: [UInt8]) -> [UInt8] {
        guard case .byteLevel = kind else { return text }
        return ByteAlphabet.decode(text) ?? text
    }

    /// The text that is certain after one more token.
    func append(_ token: ArraySlice<UInt8>, to state: inout State) -> [UInt8] {
        defer { state.started = true }
        switch kind {
        case .byteLevel: return Self.repaired(&state.pending, token)
        case .spaced: return state.started ? [UInt8(ascii: " ")] + token : Array(token)
        case .suffix(let suffix):
            let ready = state.held.map { Self.replacing(suffix, with: " ", in: $0) } ?? []
            state.held = Array(token)
            return ready
        case .chain(let chain):
            var text = Array(token)
            for step in chain.before { text = Self.apply(step, text, isFirst: !state.started) }
            if chain.byteFallback {
                if let byte = Self.byte(of: text) {
                    state.pending.append(byte)
                    return []
                }
                let run = Self.finishRun(chain, &state)
                return Self.whole(chain, run + Self.after(chain, text, state), &state)
            }
            return Self.whole(chain, Self.after(chain, text, state), &state)
        }
    }

    /// The rest, after the last token.
    func finish(_ state: inout State) -> [UInt8] {
        defer { state = initialState }
        switch kind {
        case .byteLevel:
            return state.pending.isEmpty ? [] : Array("\u{FFFD}".utf8)
        case .spaced: return []
        case .suffix(let suffix):
            return state.held.map { Self.replacing(suffix, with: "", in: $0) } ?? []
        case .chain(let chain):
            return Self.whole(chain, Self.finishRun(chain, &state), &state)
        }
    }

    /// `bytes` after what is pending, with U+FFFD for each invalid part; an unfinished scalar at the
    /// end stays pending.
    private static func repaired(_ pending: inout [UInt8], _ bytes: ArraySlice<UInt8>) -> [UInt8] {
        if pending.isEmpty, bytes.allSatisfy({ $0 < 0x80 }) { return Array(bytes) }
        let all = pending + bytes
        let keep = unfinished(all)
        pending = Array(all[(all.count - keep)...])
        return Array(String(decoding: all[..<(all.count - keep)], as: UTF8.self).utf8)
    }

    /// How many bytes at the end are the beginning of a scalar.
    static func unfinished(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let lead = bytes[bytes.count - back]
            if lead & 0xC0 == 0x80 { continue }
            let length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1
            guard length > back else { return 0 }
            if back > 1 {
                // The second byte's bounds exclude long forms, surrogates and values too large.
                let second = bytes[bytes.count - back + 1]
                if lead == 0xE0 && second < 0xA0 || lead == 0xED && second > 0x9F
                    || lead == 0xF0 && second < 0x90 || lead == 0xF4 && second > 0x8F
                {
                    return 0
                }
            }
            return back
        }
        return 0
    }

    /// The byte of a token `<0xNN>`.
    static func byte(of text: some Collection<UInt8>) -> UInt8? {
        guard text.count == 6, text.starts(with: "<0x".utf8),
            text.last(2).last == UInt8(ascii: ">")
        else { return nil }
        return UInt8(String(decoding: text.dropFirst(3).prefix(2), as: UTF8.self), radix: 16)
    }

    private static func apply(_ step: Step, _ text: [UInt8], isFirst: Bool) -> [UInt8] {
        switch step {
        case .replace(let pattern, let replacement):
            return text.withUnsafeBufferPointer {
                Normalizer.replace(pattern, with: replacement, in: $0)
            } ?? text
        case .metaspace(let mark, let dropsFirst):
            return replacing(mark, with: dropsFirst && isFirst ? "" : " ", in: text)
        case .strip(let strip):
            var rest = text[...]
            let count = strip.content.count
            var (first, last) = (0, 0)
            while first < strip.start, count > 0, rest.starts(with: strip.content) {
                rest = rest.dropFirst(count)
                first += 1
            }
            while last < strip.stop, count > 0, rest.suffix(count) == strip.content[...] {
                rest = rest.dropLast(count)
                last += 1
            }
            return Array(rest)
        }
    }

    private static func after(_ chain: Chain, _ text: [UInt8], _ state: State) -> [UInt8] {
        chain.after.reduce(text) { apply($1, $0, isFirst: !state.started) }
    }

    /// The text of a run of `<0xNN>` tokens: valid as a whole, or one U+FFFD for each byte.
    private static func finishRun(_ chain: Chain, _ state: inout State) -> [UInt8] {
        guard !state.pending.isEmpty else { return [] }
        let run = state.pending
        state.pending = []
        if String(validating: run, as: UTF8.self) != nil { return after(chain, run, state) }
        return run.flatMap { _ in after(chain, Array("\u{FFFD}".utf8), state) }
    }

    /// The strips of the joined text, applied to its next part.
    private static func whole(_ chain: Chain, _ text: [UInt8], _ state: inout State) -> [UInt8] {
        var text = text
        for (place, strip) in chain.whole.enumerated() {
            while state.strips[place].left > 0, !text.isEmpty {
                guard text.starts(with: strip.content) else {
                    state.strips[place].left = 0
                    break
                }
                text.removeFirst(strip.content.count)
                state.strips[place].left -= 1
            }
            guard strip.stop > 0, !text.isEmpty else { continue }
            // Held characters are all the same, so that their number is enough.
            for _ in 0..<state.strips[place].tail { text = strip.content + text }
            state.strips[place].tail = 0
            while state.strips[place].tail < strip.stop,
                text.suffix(strip.content.count) == strip.content[...]
            {
                text.removeLast(strip.content.count)
                state.strips[place].tail += 1
            }
        }
        return text
    }

    private static func replacing(_ old: [UInt8], with new: String, in text: [UInt8]) -> [UInt8] {
        text.withUnsafeBufferPointer {
            Normalizer.replace(.literal(old), with: Array(new.utf8), in: $0)
        } ?? text
    }
}

extension Collection<UInt8> {
    /// The last elements, in order.
    fileprivate func last(_ count: Int) -> [UInt8] { Array(suffix(count)) }
}
