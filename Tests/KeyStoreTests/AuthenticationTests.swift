import Foundation
import KeyStore
import Testing

@Suite struct AuthenticationTests {
    @Test func `a new key is accepted with its settings`() throws {
        let state = try TemporaryState()
        var settings = KeySettings(name: "laptop")
        settings.owner = "ann"
        settings.scopes = [.infer, .mediaURL]
        settings.models = ["qwen*", "org/m"]
        settings.rpm = 60
        settings.tpm = 10_000
        settings.maxParallel = 4
        settings.budgetPerDay = 1_000_000
        settings.weight = 7
        settings.expires = Date(timeIntervalSinceNow: 3600)
        let created = try state.administration().create(settings)
        let record = try #require(state.server().authenticate(created.key).record)
        #expect(record == created.record)
        #expect(record.owner == "ann" && record.scopes == [.infer, .mediaURL])
        #expect(record.rpm == 60 && record.tpm == 10_000 && record.maxParallel == 4)
        #expect(record.budgetPerDay == 1_000_000 && record.weight == 7)
        #expect(record.allows(model: "qwen3") && !record.allows(model: "llama"))
    }

    @Test func `hostile strings are refused and change nothing`() throws {
        let state = try TemporaryState()
        let good = try state.key()
        let server = try state.server()
        let before = try contents(state)
        let pieces = [
            "' OR '1'='1", "\"; DROP TABLE keys;--", "\0", "%00", "\u{FFFD}", "🙂", "é", " ", "\n",
            ")",
            good.record.id, String(good.key.prefix(30)), "sk-tg-", "Bearer ", "UNION SELECT digest",
        ]
        var generator = SystemRandomNumberGenerator()
        for index in 0..<10_000 {
            var text = index % 3 == 0 ? "sk-tg-\(good.record.id)-" : ""
            for _ in 0..<Int.random(in: 0...4, using: &generator) {
                text += pieces.randomElement() ?? ""
            }
            #expect(server.authenticate(text) == .refused)
        }
        let long = String(repeating: "A", count: 65_536)
        let invalid = String(decoding: [0xFF, 0xC0, 0x80] + Array(good.key.utf8), as: UTF8.self)
        for text in [
            long, good.key + long, invalid, good.key + "\0", " " + good.key, "",
            good.key.lowercased(),
        ] {
            #expect(server.authenticate(text) == .refused)
        }
        #expect(try contents(state) == before)
        #expect(server.authenticate(good.key).record == good.record)
    }

    @Test func `a well-formed key with another secret or an unknown id is refused`() throws {
        let state = try TemporaryState()
        let other = try TemporaryState()
        let good = try state.key()
        let server = try state.server()
        for _ in 0..<20 { #expect(server.authenticate(try other.key().key) == .refused) }
        // The same id with a foreign secret and a right checksum.
        #expect(server.authenticate(try forge(good.key, secretOf: other.key().key)) == .refused)
    }

    @Test func `keys that differ in their last secret character do not share an answer`() throws {
        let state = try TemporaryState()
        let good = try state.key()
        let server = try state.server()
        let secret = Array(good.key)[19..<51]
        for last in "aZ09" where last != secret.last {
            let near = String(Array(good.key)[..<50]) + String(last)
            for _ in 0..<2 {
                #expect(server.authenticate(withChecksum(near)) == .refused)
                #expect(server.authenticate(good.key).record?.id == good.record.id)
            }
        }
    }

    @Test func `the digest is no credential`() throws {
        let state = try TemporaryState()
        let good = try state.key()
        let bytes = try contents(state)
        #expect(bytes.range(of: Data(good.key.utf8)) == nil)
        #expect(bytes.range(of: Data(good.key.utf8.dropFirst(19))) == nil)
    }

    @Test func `a key expires by the wall clock it is shown`() throws {
        let state = try TemporaryState()
        let now = Date()
        var settings = KeySettings(name: "short")
        settings.expires = now.addingTimeInterval(100)
        let created = try state.administration().create(settings, now: now)
        let server = try state.server()
        #expect(server.authenticate(created.key, now: now.addingTimeInterval(98)).record != nil)
        #expect(server.authenticate(created.key, now: now.addingTimeInterval(101)) == .refused)
        #expect(server.record(id: created.record.id, now: now.addingTimeInterval(101)) == nil)
        #expect(server.record(id: created.record.id, now: now)?.id == created.record.id)
        #expect(server.liveKeyCount(now: now) == 1)
        #expect(server.liveKeyCount(now: now.addingTimeInterval(101)) == 0)
    }

    private func contents(_ state: TemporaryState) throws -> Data {
        let path = state.files.database
        return try Data(contentsOf: URL(fileURLWithPath: path))
            + Data(contentsOf: URL(fileURLWithPath: path + "-wal"))
    }

    private func forge(_ key: String, secretOf other: String) throws -> String {
        withChecksum(String(key.prefix(19)) + String(other.dropFirst(19).prefix(32)))
    }

    private func withChecksum(_ body: String) -> String {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in body.utf8 {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        var rest = ~crc
        let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        var digits = ""
        for _ in 0..<6 {
            digits = String(alphabet[Int(rest % 62)]) + digits
            rest /= 62
        }
        let key = body + digits
        precondition(KeyFormat.id(of: key) != nil, "the test must get past the checksum")
        return key
    }
}
