import Foundation
import JSON
import Server
import Settings
import Testing

/// Requests with media as the processors of transformers render them (`Fixtures/processors/make.py`).
@Suite struct RenderingTests {
    private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures")

    private static let cases: [JSONValue] = {
        let path = fixtures.appending(path: "processors/expected.json")
        return (try? JSONValue.parse(Data(contentsOf: path)))?.array ?? []
    }()

    private func settings() -> Settings {
        var settings = Settings()
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        settings.media.executable =
            URL(filePath: own).deletingLastPathComponent().appending(path: "torchgate-media").path
        return settings
    }

    private func part(_ described: JSONValue) throws -> JSONValue {
        guard var part = described.object else { return ["type": "text", "text": described] }
        for kind in ["image", "video"] {
            guard let name = part[kind]?.string else { continue }
            let data = try Data(contentsOf: Self.fixtures.appending(path: "media/\(name)"))
            part[kind] = .string("data:;base64,\(data.base64EncodedString())")
            part["type"] = .string(kind)
        }
        return .object(part)
    }

    private func render(_ model: String, _ content: [JSONValue], frames: String? = nil) throws
        -> JSONValue
    {
        try Rendering.render(
            model: Self.fixtures.appending(path: "processors/\(model)").path,
            request: ["messages": [["role": "user", "content": .array(content)]]],
            settings: settings(),
            frames: frames
        )
    }

    @Test func `prompts, ids and grids are those of transformers`() throws {
        #expect(Self.cases.count > 10)
        for expected in Self.cases {
            let model = try #require(expected["model"]?.string)
            let content = try #require(expected["content"]?.array)
            let rendered = try render(model, try content.map(part))
            for key in ["prompt", "ids", "image_grid_thw", "video_grid_thw"] {
                #expect(
                    rendered[key] == expected[key],
                    "\(model) \(key) of \(expected["content"]?.text() ?? "")"
                )
            }
        }
    }

    @Test func `spans name the placeholders, and the pixels lie in their files`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "frames-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        for (model, spans) in [("qwen2_5_vl", 1), ("qwen3_vl", 2)] {
            let content = try [["video": "h264.mp4", "num_frames": 4], ["image": "rgb.png"]].map(
                part
            )
            let rendered = try render(model, content, frames: folder.path)
            let ids = try #require(rendered["ids"]?.array)
            let media = try #require(rendered["media"]?.array)
            #expect(media.compactMap { $0["kind"]?.string } == ["video", "image"])
            #expect(media.first?["spans"]?.array?.count == spans)
            #expect(
                (media.first?["timestamps"]?.array?.count ?? 0) == (model == "qwen3_vl" ? 2 : 0)
            )
            #expect((media.first?["seconds_per_grid"]?.double != nil) == (model == "qwen2_5_vl"))
            for (place, medium) in media.enumerated() {
                let numbers = ["frames", "height", "width"].compactMap { medium[$0]?.int }
                let file = folder.appending(path: try #require(medium["file"]?.string))
                #expect(file.lastPathComponent == "\(place).rgb")
                #expect(try Data(contentsOf: file).count == 3 * numbers.reduce(1, *))
                let grid = (medium["grid_thw"]?.array ?? []).compactMap(\.int)
                var tokens = 0
                for span in medium["spans"]?.array ?? [] {
                    let ends = (span.array ?? []).compactMap(\.int)
                    let (low, high) = (try #require(ends.first), try #require(ends.last))
                    tokens += high - low
                    #expect(Set(ids[low..<high].compactMap(\.int)).count == 1)
                    #expect(ids[low - 1] != ids[low] && ids[high] != ids[low])
                }
                #expect(tokens == grid.reduce(1, *) / 4)
            }
        }
    }

    @Test func `placeholders that a client writes stay text`() throws {
        let plain = try render(
            "qwen3_vl",
            [["type": "text", "text": "<|image_pad|> <|video_pad|>"]]
        )
        #expect(plain["media"] == [])
        let config = try JSONValue.parse(
            Data(contentsOf: Self.fixtures.appending(path: "processors/qwen3_vl/config.json"))
        )
        for key in ["image_token_id", "video_token_id"] {
            let id = try #require(config[key])
            #expect(plain["ids"]?.array?.contains(id) == false)
        }
    }

    @Test func `what cannot be rendered is said with its field`() throws {
        let bad: [(JSONValue, String)] = [
            (["type": "image", "image": "data:;base64,AAAA"], "messages[0].content[0].image"),
            (
                ["type": "image_url", "image_url": ["url": "ftp://x/"]],
                "messages[0].content[0].image_url.url"
            ),
            (["type": "video", "video": "http://127.0.0.1:1/"], "could not be fetched"),
            (["type": "image", "url": "file:///etc/passwd"], "below the media root"),
        ]
        for (part, words) in bad {
            #expect {
                try render("qwen2_5_vl", [part])
            } throws: { error in
                "\(error)".contains(words)
            }
        }
    }
}
