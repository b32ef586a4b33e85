import Engine
import Foundation
import JSON
import Testing

extension EngineSuites {
    /// The benchmark inside the engine, at sizes where its numbers mean nothing.
    @Suite(.serialized) struct EngineBenchTests {
        private func report(_ change: (inout EngineBench.Options) -> Void) throws -> JSONValue {
            let file = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
            defer { try? FileManager.default.removeItem(at: file) }
            var options = EngineBench.Options()
            options.dtype = "float32"
            options.threads = 2
            options.context = 24
            options.steps = 4
            options.repeats = 1
            options.report = file
            change(&options)
            _ = try EngineBench.run(options)
            return try JSONValue.parse([UInt8](Data(contentsOf: file)))
        }

        private func shape(_ name: String) -> String {
            URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appending(path: "Benchmarks/shapes/\(name)").path
        }

        @Test func `each row that was asked for has times, and bytes from the shapes`() throws {
            let report = try report {
                $0.model = shape("tiny-qwen3-vl")
                $0.invents = true
                $0.batches = [1, 3]
                $0.prefills = [600]
                $0.streams = [5]
                $0.generated = 6
                $0.images = [(256, 320)]
                $0.bandwidth = 10
            }
            let rows = try #require(report["rows"]?.array)
            let kinds = rows.map { $0["kind"]?.string }
            #expect(kinds == ["decode", "decode", "prefill", "image", "streams"])
            #expect(rows.allSatisfy { ($0["seconds"]?.double ?? 0) > 0 })
            #expect(rows[1]["repetitions"]?.int == 4)
            #expect(rows[3]["tokens"]?.int == 80)
            #expect(rows[4]["tokens"]?.int == 30)
            // Two layers of attention and feed-forward, and the embedding as head; float32.
            let layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96
            let weights = 4 * (2 * layer + 512 * 64)
            #expect(report["weight_bytes"]?.int == weights)
            let state = 2 * 2 * 32 * 4
            #expect(report["state_bytes_per_token"]?.int == state)
            let context = try #require(rows[1]["context"]?.double)
            #expect(context > 27 && context < 40)
            let bytes = try #require(rows[1]["bytes"]?.double)
            #expect(bytes == Double(weights) + 3 * context * Double(state))
            #expect(rows[1]["ideal_seconds"]?.double == bytes / 10e9)
        }

        @Test func `a given prompt draws the same tokens in any batch`() throws {
            let report = try report {
                $0.model = EngineStage.fixture("qwen3")
                $0.batches = [1, 3]
                $0.prompt = [5, 9, 200, 31, 7]
                $0.steps = 12
            }
            let texts = try #require(report["rows"]?.array).flatMap { $0["texts"]?.array ?? [] }
            #expect(texts.count == 4)
            #expect(texts[0].array?.count == 12)
            #expect(texts.allSatisfy { $0 == texts[0] })
        }

        @Test func `a row that cannot be measured says why and leaves the others alone`() throws {
            let report = try report {
                $0.model = shape("tiny-qwen2.5")
                $0.invents = true
                $0.images = [(64, 64)]
                $0.streams = [2]
            }
            let rows = try #require(report["rows"]?.array)
            #expect(rows.count == 2)
            #expect(rows[0]["error"]?.string == "the model takes text only")
            #expect(rows[1]["tokens"]?.int == 128)
        }
    }
}
