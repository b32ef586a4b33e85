import Foundation
import JSON
import Testing
import Text

/// Templates against Python's Jinja2, limits and damage.
struct JinjaTests {
    private func render(_ source: String, _ limits: TemplateLimits = TemplateLimits()) throws
        -> String
    {
        let variables = try #require(try JSONValue.parse(JinjaCases.variables).object)
        return try ChatTemplate(source: source)
            .render(trusted: JSONObject(), client: variables, clock: 0, limits: limits).text
    }

    @Test func `templates render what Python's Jinja2 renders`() {
        for (template, text) in JinjaCases.rendered {
            do {
                let rendered = try render(template)
                #expect(rendered == text, "\(template)")
            } catch {
                Issue.record("\(template): \(error)")
            }
        }
    }

    @Test func `templates that Python refuses are refused`() {
        for template in JinjaCases.refused {
            #expect(throws: TemplateError.self, "\(template)") { try render(template) }
        }
    }

    @Test func `an error says of what kind it is`() {
        func kind(_ template: String) -> TemplateError.Kind? {
            do { _ = try render(template) } catch { return (error as? TemplateError)?.kind }
            return nil
        }
        #expect(kind("{% if %}") == .syntax)
        #expect(kind("{{ 1 / 0 }}") == .runtime)
        #expect(kind("{{ raise_exception('no') }}") == .raised)
        #expect(kind("{{ l.append(1) }}") == .security)
    }

    @Test func `limits are exact enough to be told apart`() throws {
        var limits = TemplateLimits()
        limits.characters = 10
        #expect(try render("{{ 'a' * 10 }}", limits) == "aaaaaaaaaa")
        #expect(throws: TemplateError.self) { try render("{{ 'a' * 11 }}", limits) }
        #expect(throws: TemplateError.self) { try render("12345{{ 'a' * 6 }}", limits) }
        limits = TemplateLimits()
        limits.steps = 50
        #expect(throws: TemplateError.self) {
            try render("{% for i in range(60) %}{{ i }}{% endfor %}", limits)
        }
        #expect(try render("{% for i in range(5) %}{{ i }}{% endfor %}", limits) == "01234")
    }

    @Test func `damaged templates never end the process`() {
        let whole = Array(
            """
            {%- for m in l if m > 1 -%}{{ loop.index ~ (s[1:-1]|replace("o", '0')) }}{# c #}
            {%- else %}{% set x, y = (1, [2.5e3, {"a": none}]) %}{% endfor %}
            {% macro f(a, b=2) %}{{ a if b is odd else -b ** 2 }}{% endmacro %}{{ f(3, b=4) }}
            """.utf8
        )
        var state: UInt64 = 42
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let letters = Array(#"{}%#()[]|.,:'"\-+*~<=>!0a e_"#.utf8)
        var limits = TemplateLimits()
        limits.steps = 10_000
        var rendered = 0
        for _ in 0..<1500 {
            var bytes = whole
            for _ in 0...next(4) { bytes[next(bytes.count)] = letters[next(letters.count)] }
            if (try? render(String(decoding: bytes, as: UTF8.self), limits)) != nil {
                rendered += 1
            }
        }
        #expect(rendered > 0 && rendered < 1500)
    }
}
