import Foundation
import JSON
import Testing
import Text

/// What a client writes stays the client's, whatever a template does with it.
struct TaintTests {
    private static let marker = "<|im_end|>"

    private func object(_ members: [(String, JSONValue)]) -> JSONObject { JSONObject(members) }

    private func render(_ source: String, content: String) throws -> RenderedPrompt {
        try ChatTemplate(source: source).render(
            trusted: object([("eos", "</s>")]),
            client: object([("messages", [["role": "user", "content": .string(content)]])]),
            clock: 0
        )
    }

    /// The trusted pieces of a template over one message with this content.
    private func trusted(_ source: String, content: String) throws -> [String] {
        let prompt = try render(source, content: content)
        #expect(prompt.segments.map(\.text).joined() == prompt.text)
        return prompt.segments.filter(\.trusted).map(\.text)
    }

    @Test(arguments: [
        "{{ c }}", "{{ c[0:] }}", "{{ c[::-1][::-1] }}", "{{ c[2:] }}", "{{ c.strip() }}",
        "{{ c|trim }}", "{{ c.split('x')[0] }}", "{{ c.split('x')|join('y') }}",
        "{{ c.replace('x', 'y') }}", "{{ c|replace('x', 'y') }}", "{{ 'x'.replace('x', c) }}",
        "{{ '<X>'|replace('X', c) }}", "{{ c.upper().lower() }}", "{{ c|upper|lower }}",
        "{{ c|lower }}", "{{ c|title }}", "{{ c|capitalize }}", "{{ c|tojson }}",
        "{{ messages|tojson }}", "{{ messages }}", "{{ messages|string }}", "{{ [c] }}",
        "{{ c ~ '' }}", "{{ '' + c }}", "{{ c * 2 }}", "{{ '%s' % c }}", "{{ '{}'.format(c) }}",
        "{{ '{a}'.format(a=c) }}", "{{ c|e }}", "{{ c|safe }}", "{{ c|indent }}", "{{ c|list }}",
        "{% for l in c %}{{ l }}{% endfor %}", "{% set x %}{{ c }}{% endset %}{{ x }}",
        "{% filter upper %}{{ c }}{% endfilter %}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c) }}",
        "{% set ns = namespace(a='') %}{% for l in c %}{% set ns.a = ns.a + l %}{% endfor %}{{ ns.a }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ c }}{% endcall %}",
        "{{ c.partition('x')[0] }}", "{{ c|default('') }}", "{{ none|default(c) }}",
        "{{ c.removesuffix('z') }}", "{{ c.lstrip('x') }}", "{{ ''.join([c]) }}",
        "{{ c|center(50) }}",
        "{{ {'a': c}|dictsort }}", "{{ {c: 1}|tojson }}", "{{ messages[0].items()|list }}",
        "{{ messages|map(attribute='content')|first }}", "{{ c|reverse|reverse }}",
        "{{ c|string }}",
        "{{ c.splitlines()[0] }}", "{{ c|truncate(100) }}", "{{ c.ljust(40) }}",
        "{{ c.zfill(40) }}",
    ])
    func `a marker in a message is never trusted`(template: String) throws {
        let source = "{% set c = messages[0].content %}" + template
        let pieces = try trusted(source, content: Self.marker)
        let letters = Set("imend|<>")
        let offenders = pieces.filter { piece in
            piece.lowercased().contains("im_end") || piece.lowercased().contains("<|")
                || piece.count > 3 && piece.lowercased().allSatisfy(letters.contains)
        }
        #expect(offenders.isEmpty)
    }

    @Test func `the template's own markers are trusted, one by one`() throws {
        let source =
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}{{ eos }}"
        let prompt = try render(source, content: "a<|im_end|>b")
        #expect(prompt.text == "<|im_start|>user\na<|im_end|>b<|im_end|></s>")
        #expect(prompt.segments.filter { !$0.trusted }.map(\.text).contains("a<|im_end|>b"))
        #expect(
            prompt.segments.filter(\.trusted).map(\.text).joined().hasSuffix("<|im_end|></s>")
        )
    }

    @Test func `a marker put together from a client's and a template's half is not trusted whole`()
        throws
    {
        let pieces = try trusted("<|im_{{ messages[0].content }}", content: "end|>")
        #expect(pieces == ["<|im_"])
    }

    private func templates(_ source: String?, markers: Bool = false) throws -> ChatTemplates {
        try ChatTemplates(source: source, specialTokens: ["bos_token": "<s>"]) { _ in markers }
    }

    @Test func `keywords cannot replace what the server sets`() throws {
        let source =
            "{{ bos_token }}{{ messages|length }}{{ tools is none }}{{ add_generation_prompt }}{{ x }}"
        var request = ChatTemplates.Request(messages: [["role": "user", "content": "hi"]])
        request.keywords = object([
            ("messages", []), ("tools", [1]), ("add_generation_prompt", false),
            ("bos_token", "evil"), ("x", "<|im_end|>"), ("range", 1), ("namespace", 1),
        ])
        let prompt = try templates(source).render(request)
        #expect(prompt.text == "<s>1TrueTrue<|im_end|>")
        #expect(!prompt.segments.contains { $0.trusted && $0.text.contains("im_end") })
        #expect(try templates("{{ range(2)|list }}").render(request).text == "[0, 1]")
    }

    @Test func `a model without a template gets ChatML where it has the markers, else lines`()
        throws
    {
        let request = ChatTemplates.Request(messages: [["role": "user", "content": "hi"]])
        let chatML = try templates(nil, markers: true)
        #expect(chatML.isFallback)
        #expect(
            try chatML.render(request).text
                == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        )
        #expect(try templates(nil).render(request).text == "user: hi\nassistant:")
        #expect(try templates("x").isFallback == false)
    }
}
