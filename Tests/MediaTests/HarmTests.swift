import Media
import Testing

/// Random texts of the bytes that parsers stumble over: none may trap, and what is read reads again.
@Suite struct HarmTests {
    private struct Dice: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    private let words = [
        "http://", "https://", "HTTP://", "data:", "file:", ";base64,", ",", "//", "/", "..", ".",
        "@", ":", "[",
        "]", "%", "%4", "%41", "=", "==", "\\", "#", "?", "a", "b.c", "0", "1", "255", "127.0.0.1",
        "0x7f",
        "::1", "::ffff:1.2.3.4", "443", "65536", "é", "\u{0}", "\n", " ", "-", "_", "xn--",
    ]

    private func texts(_ seed: UInt64) -> [String] {
        var dice = Dice(state: seed)
        return (0..<20_000).map { _ in
            (0..<Int.random(in: 0...9, using: &dice)).map { _ in
                words.randomElement(using: &dice) ?? ""
            }.joined()
        }
    }

    @Test func `any text is a URL or none`() {
        var read = 0
        for text in texts(1) {
            guard let url = MediaURL(text) else { continue }
            read += 1
            #expect(MediaURL(url.text) == url, "\(text)")
            #expect(!url.host.contains { "@/\\?#[]% \n".contains($0) }, "\(text)")
        }
        #expect(read > 20)
    }

    @Test func `any text is a data URL, a file's name, or neither`() throws {
        for text in texts(2) {
            _ = try? DataURL.bytes(of: "data:\(text)", most: 64)
            _ = try? DataURL.base64(text[...], most: 64)
            _ = IPNetwork(text)
            if let name = try? MediaRoot.name(in: "file:\(text)") {
                #expect(
                    !name.hasPrefix("/") && !name.split(separator: "/").contains(".."),
                    "\(text)"
                )
            }
        }
    }
}
