import Checkpoints
import NN
import Pixels
import Testing
import Torch
import Vision

/// Images and clips: positions, features and logits are those of transformers.
@Suite(.serialized) struct MediaGoldenTests {
    @Test(arguments: MediaGolden.names)
    func `positions of prompts with media are those of transformers`(_ name: String) throws {
        let golden = try MediaGolden(name)
        for prompt in golden.cases {
            let index = try golden.index(prompt)
            #expect(index.axes == prompt.positions, "\(prompt.name)")
            #expect(index.delta == prompt.delta, "\(prompt.name)")
            if let original = prompt.original {
                let found = try golden.index(prompt, .original)
                #expect(found.axes == original, "\(prompt.name)")
                let last = original.flatMap { $0 }.max() ?? 0
                #expect(found.delta == last + 1 - Int32(prompt.ids.count))
            } else {
                #expect(try golden.index(prompt, .original) == index)
            }
        }
    }

    @Test(arguments: MediaGolden.names)
    func `patches and features are those of transformers`(_ name: String) throws {
        let golden = try MediaGolden(name)
        for prompt in golden.cases {
            for (index, medium) in prompt.media.enumerated() {
                let patches = golden.patches(medium)
                #expect(patches.grid == medium.grid)
                if let pixels = golden.golden("\(prompt.name).pixels.\(index)") {
                    let found = try Torch.checked {
                        (0..<patches.grid.time).flatMap { patches($0).floats }
                    }
                    #expect(found == pixels, "\(prompt.name)")
                }
            }
            for (index, found) in try golden.features(prompt.media).enumerated() {
                let expected = try #require(golden.golden("\(prompt.name).features.\(index)"))
                #expect(largest(found.rows.floats, expected) < 1e-4, "\(prompt.name)")
                for (level, rows) in found.deep.enumerated() {
                    let name = "\(prompt.name).deep.\(level).\(index)"
                    #expect(largest(rows.floats, try #require(golden.golden(name))) < 1e-4)
                }
                #expect(golden.golden("\(prompt.name).deep.\(found.deep.count).\(index)") == nil)
            }
        }
    }

    @Test(arguments: MediaGolden.names)
    func `where the text model is quantised, the tower stays as it is`(_ name: String) throws {
        let (plain, golden) = try (
            MediaGolden(name), MediaGolden(name, form: .quantised(.int8))
        )
        let prompt = try #require(golden.cases.first { !$0.media.isEmpty && $0.name != "large" })
        let features = try golden.features(prompt.media)
        let expected = try plain.features(prompt.media)
        #expect(features.map(\.rows.floats) == expected.map(\.rows.floats))
        func logits(_ golden: MediaGolden) throws -> [Float] {
            let state = golden.model.makeState(capacity: 256)
            return try Torch.checked {
                golden.model(try golden.step(prompt, 0..<prompt.ids.count, features, state)).floats
            }
        }
        let far = largest(try logits(golden), try logits(plain))
        #expect(far > 1e-4 && far < 1, "\(far)")
    }

    @Test(arguments: MediaGolden.names)
    func `logits and greedy tokens are those of transformers`(_ name: String) throws {
        let golden = try MediaGolden(name)
        for prompt in golden.cases where prompt.name != "large" {
            let features = try golden.features(prompt.media)
            let state = golden.model.makeState(capacity: 256)
            let all = try Torch.checked {
                golden.model(try golden.step(prompt, 0..<prompt.ids.count, features, state)).floats
            }
            let expected = try #require(golden.golden("\(prompt.name).logits"))
            let bound: Float = prompt.media.isEmpty ? 1e-4 : 1e-3
            #expect(largest(all, expected) < bound, "\(prompt.name)")
            let delta = try golden.index(prompt).delta
            var row = Array(all.suffix(golden.model.vocabularySize))
            var tokens: [Int32] = []
            while tokens.count < prompt.greedy.count {
                tokens.append(Int32(row.indices.max { row[$0] < row[$1] } ?? 0))
                let place = Int32(state.length) + delta
                row = try Torch.checked {
                    golden.model(
                        Step(
                            input: .tokens(tokens.suffix(1)),
                            positions: [[place], [place], [place]],
                            runs: [.init(state: state, count: 1)],
                            outputRows: [0]
                        )
                    ).floats
                }
            }
            #expect(tokens == prompt.greedy, "\(prompt.name)")
        }
    }

    @Test(arguments: ["vl-qwen2_5", "vl-qwen3"])
    func `features have the same bits whatever else is in the pass`(_ name: String) throws {
        defer { Torch.start(threads: 2) }
        let golden = try MediaGolden(name)
        let media = golden.cases.flatMap(\.media)
        Torch.start(threads: 1)
        let alone = try media.map { try bits(try golden.features([$0])[0]) }
        for threads in [1, 2] {
            Torch.start(threads: threads)
            #expect(try golden.features(media).map(bits) == alone)
            #expect(try golden.features(media.reversed()).map(bits) == alone.reversed())
        }
    }

    @Test(arguments: ["vl-qwen2_5", "vl-qwen3"])
    func `logits have the same bits however a prompt with media is cut`(_ name: String) throws {
        let golden = try MediaGolden(name)
        for prompt in golden.cases where prompt.name == "mixed" {
            let features = try golden.features(prompt.media)
            func fed(_ size: Int) throws -> [UInt32] {
                let state = golden.model.makeState(capacity: 256)
                return try Torch.checked {
                    try stride(from: 0, to: prompt.ids.count, by: size).flatMap { start in
                        let rows = start..<min(start + size, prompt.ids.count)
                        return golden.model(try golden.step(prompt, rows, features, state)).floats
                    }
                }.map(\.bitPattern)
            }
            let whole = try fed(prompt.ids.count)
            for size in [1, 3, 7, 20] { #expect(try fed(size) == whole) }
        }
    }

    @Test func `bfloat16 features stay near float32`() throws {
        for name in MediaGolden.names {
            let golden = try MediaGolden(name, dtype: .bfloat16)
            for prompt in golden.cases {
                for (index, found) in try golden.features(prompt.media).enumerated() {
                    let expected = try #require(golden.golden("\(prompt.name).features.\(index)"))
                    let size = expected.map(abs).max() ?? 0
                    #expect(largest(found.rows.floats, expected) < 0.06 * size, "\(prompt.name)")
                }
            }
        }
    }

    private func largest(_ found: [Float], _ expected: [Float]) -> Float {
        guard found.count == expected.count else { return .infinity }
        return zip(found, expected).map { abs($0 - $1) }.max() ?? 0
    }

    private func bits(_ features: VisionFeatures) throws -> [[UInt32]] {
        try Torch.checked { ([features.rows] + features.deep).map { $0.floats.map(\.bitPattern) } }
    }
}
