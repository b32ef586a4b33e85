import Foundation
import JSON
import Testing
import Text

/// Renders of transformers 5.17 for ten conversations through 14 public templates.
struct ChatTemplateGoldenTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "Fixtures/templates"
        )

    private static func golden() throws -> JSONValue {
        try JSONValue.parse(try Data(contentsOf: folder.appending(path: "golden.json")))
    }

    static let names: [String] = (try? golden()["results"]?.object?.keys) ?? []

    @Test(arguments: names)
    func `a template renders what transformers renders`(name: String) throws {
        let golden = try Self.golden()
        let source = try String(
            contentsOf: Self.folder.appending(path: "\(name).jinja"),
            encoding: .utf8
        )
        var specials: [String: String] = [:]
        for (key, value) in try #require(golden["special"]?.object).members {
            specials[key] = value.string
        }
        let templates = try ChatTemplates(source: source, specialTokens: specials) { _ in false }
        let results = try #require(golden["results"]?[name]?.object)
        for (title, expected) in results.members {
            let conversation = try #require(golden["cases"]?[title]?.object)
            var request = ChatTemplates.Request(
                messages: try #require(conversation["messages"]?.array)
            )
            request.tools = conversation["tools"]?.array ?? []
            request.addGenerationPrompt = conversation["add_generation_prompt"]?.bool ?? false
            request.continueFinalMessage = conversation["continue_final_message"]?.bool ?? false
            if let flag = conversation["enable_thinking"] {
                request.keywords["enable_thinking"] = flag
            }
            request.clock = Self.clock()
            do {
                let rendered = try templates.render(request)
                #expect(rendered.text == expected["ok"]?.string, "\(name), \(title)")
                #expect(rendered.segments.map(\.text).joined() == rendered.text)
            } catch {
                #expect(expected["error"] != nil, "\(name), \(title): \(error)")
            }
        }
    }

    /// 2026-01-02T03:04:05 of the local time.
    private static func clock() -> Double {
        var parts = DateComponents()
        (parts.year, parts.month, parts.day) = (2026, 1, 2)
        (parts.hour, parts.minute, parts.second) = (3, 4, 5)
        return Calendar(identifier: .gregorian).date(from: parts)?.timeIntervalSince1970 ?? 0
    }
}
