import Synchronization
import Testing
import Text

@Suite struct TokenizerWorstCaseTests {
    private static let runs: [(name: String, text: String)] = [
        ("a", String(repeating: "a", count: 200_000)),
        ("^", String(repeating: "^", count: 200_000)),
        ("_", String(repeating: "_", count: 200_000)),
        ("space", String(repeating: " ", count: 200_000) + "x"),
        ("apostrophe", String(repeating: "'", count: 200_000)),
        ("CJK", String(repeating: "漢字仮名交文", count: 11_000)),
        ("emoji", String(repeating: "👩‍👩‍👧‍👦", count: 8_000)),
        ("marks", "e" + String(repeating: "\u{301}\u{323}", count: 100_000)),
        ("half tokens", String(repeating: "<|im_", count: 40_000)),
    ]

    /// A quadratic walk over 200,000 symbols takes minutes, so the bound can be generous.
    @Test(.timeLimit(.minutes(1)), arguments: 0..<9)
    func `a long run without word boundaries takes near linear time`(_ place: Int) throws {
        let (name, text) = Self.runs[place]
        for file in ["tiny-qwen2.json", "smollm2-excerpt.json"] {
            let tokenizer = try TokenizerFixtures.tokenizer(file)
            let clock = ContinuousClock()
            var ids: [Int32] = []
            let time = clock.measure { ids = tokenizer.encode(text, addSpecialTokens: false) }
            #expect(time < .seconds(5), "\(name)")
            if name != "marks" {
                #expect(tokenizer.decode(ids, skipSpecialTokens: false) == text)
            }
        }
    }

    @Test func `threads share a tokenizer`() throws {
        let tokenizer = try TokenizerFixtures.tokenizer("tiny-qwen2.json")
        let texts = TokenizerFixtures.texts(200, seed: 7, pieces: ["<|im_start|>"])
        let expected = texts.map { tokenizer.encode($0, addSpecialTokens: false) }
        let failures = Mutex(0)
        TokenizerThreads.run(8) { _ in
            for (text, ids) in zip(texts, expected)
            where tokenizer.encode(text, addSpecialTokens: false) != ids {
                failures.withLock { $0 += 1 }
            }
        }
        #expect(failures.withLock { $0 } == 0)
    }
}
