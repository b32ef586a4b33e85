import Foundation
import JSON
import Models
import NN
import Testing

/// Published scalings, against the frequencies that transformers computes for them.
@Suite struct RotaryTests {
    static let cases: [JSONValue] = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/models/rope.json")
        guard let data = try? Data(contentsOf: file) else { return [] }
        return (try? JSONValue.parse([UInt8](data)))?.array ?? []
    }()

    @Test func `there are cases`() { #expect(Self.cases.count >= 10) }

    @Test(arguments: cases.indices)
    func `frequencies and the attention factor are those of transformers`(_ index: Int) throws {
        let config = try #require(Self.cases[index]["config"])
        let size = try #require(config["head_dim"]?.int)
        let length = try #require(config["max_position_embeddings"]?.int)
        let expected = try #require(Self.cases[index]["frequencies"]?.array).compactMap(\.double)
        let (base, scaling) = try ConfigReader(config).rotary(context: length)
        let found = RotaryEmbedding.frequencies(headSize: size, base: base, scaling: scaling)
        #expect(found.count == expected.count)
        // The last bit may differ: powf of one library is not that of another.
        #expect(zip(found, expected).allSatisfy { abs(Double($0) / $1 - 1) < 4e-7 })
        let factor = Self.cases[index]["attention_factor"]?.double
        if case .yarn(let yarn) = scaling {
            #expect(yarn.attentionFactor == factor)
        } else {
            #expect(factor == 1)
        }
    }

    @Test func `a trained length beside the scaling goes before the one inside`() throws {
        let text = """
            {"original_max_position_embeddings": 512, "rope_theta": 10000.0, "rope_scaling":
            {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}}
            """
        let config = try JSONValue.parse(Array(text.utf8))
        let (_, scaling) = try ConfigReader(config).rotary(context: 1024)
        #expect(scaling == .yarn(YaRN(factor: 2, original: 512)))
    }

    static let wrong = [
        #"{"rope_type": "yarn"}"#, #"{"rope_type": "yarn", "factor": "4"}"#,
        #"{"rope_type": "yarn", "factor": 4, "rope_theta": 1}"#,
        #"{"rope_type": "yarn", "factor": 4, "beta_fast": -1}"#,
        #"{"rope_type": "yarn", "factor": 1e300}"#, #"{"rope_type": "longrope"}"#,
        #"{"rope_type": "yarn", "factor": 4, "truncate": 1}"#, #"{"rope_type": "llama3"}"#,
    ]

    @Test(arguments: wrong)
    func `scalings that say too little or nonsense are errors`(_ text: String) throws {
        let rope = try JSONValue.parse(Array(text.utf8))
        #expect(throws: ModelError.self) {
            try ConfigReader(["rope_parameters": rope]).rotary(context: 4096)
        }
    }

    @Test func `a stretched context is as long as the stretch`() throws {
        let plain = try Altered("qwen3-yarn") { $0["max_position_embeddings"] = 64 }.logits()
        #expect(plain.context == 256)
        #expect(try Altered("qwen3-yarn").logits().context == 4096)
    }
}
