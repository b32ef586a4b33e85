import KeyStore
import Testing

@Suite struct KeyFormatTests {
    @Test func `a key has the documented form`() throws {
        let created = try TemporaryState().key()
        #expect(created.key.utf8.count == KeyFormat.keyLength)
        #expect(created.key.hasPrefix("sk-tg-\(created.record.id)-"))
        #expect(KeyFormat.id(of: created.key) == created.record.id)
        #expect(
            created.key.dropFirst(6).allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-")
            }
        )
    }

    @Test func `the checksum is CRC-32 in base62`() {
        // zlib.crc32(b"sk-tg-AAAAAAAAAAAA-" + b"B" * 32) in base62, computed with Python.
        let body = "sk-tg-AAAAAAAAAAAA-" + String(repeating: "B", count: 32)
        #expect(KeyFormat.id(of: body + "1SDMEO") == "AAAAAAAAAAAA")
    }

    @Test func `every single wrong character breaks the checksum or the form`() throws {
        let key = Array(try TemporaryState().key().key)
        for index in key.indices {
            var typo = key
            typo[index] = key[index] == "a" ? "b" : "a"
            #expect(KeyFormat.id(of: String(typo)) == nil)
        }
    }

    @Test func `characters are equally likely`() throws {
        let administration = try TemporaryState().administration()
        var counts: [Character: Int] = [:]
        for index in 0..<300 {
            let key = try administration.create(KeySettings(name: "k\(index)")).key
            for character in key.dropFirst(19).prefix(32) { counts[character, default: 0] += 1 }
        }
        // 9600 draws over 62 characters: chi-square with 61 degrees of freedom, 1e-9 beyond 150.
        let expected = 9600.0 / 62
        let chi = counts.values.reduce(0.0) {
            $0 + (Double($1) - expected) * (Double($1) - expected) / expected
        }
        #expect(counts.count == 62)
        #expect(chi < 150)
    }

    @Test(arguments: [
        ("*", "any/thing", true), ("qwen*", "qwen3", true), ("qwen*", "Qwen3", false),
        ("org/*-instruct", "org/a-b-instruct", true), ("org/*-instruct", "org/a-base", false),
        ("a?c", "abc", true), ("a?c", "ac", false), ("", "", true), ("", "a", false),
        ("*a*a*a*a*a*a*a*b", String(repeating: "a", count: 200), false),
    ]) func `a glob admits what it says`(_ pattern: String, _ text: String, _ expected: Bool) {
        #expect(ModelGlob.matches(pattern, text) == expected)
    }
}
