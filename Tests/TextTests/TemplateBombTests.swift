import Foundation
import JSON
import Testing
import Text

/// Templates that mean harm end with an error, soon, and leave nothing behind.
@Suite(.serialized)
struct TemplateBombTests {
    private func render(
        _ source: String,
        seconds: Double = 1,
        client: JSONObject = JSONObject([("s", "Hello")])
    )
        throws -> String
    {
        var limits = TemplateLimits()
        limits.seconds = seconds
        return try ChatTemplate(source: source)
            .render(trusted: JSONObject(), client: client, clock: 0, limits: limits).text
    }

    private func kind(of source: String, seconds: Double = 1) -> TemplateError.Kind? {
        do { _ = try render(source, seconds: seconds) } catch {
            return (error as? TemplateError)?.kind
        }
        return nil
    }

    /// Processor seconds of this process.
    private static func processorTime() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }

    /// Bytes of memory that this process holds.
    private static func memory() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        let pages = try #require(Int(text.split(separator: " ")[1]))
        return pages * 4096
    }

    // The limit is small here, so that the suite is quick: what counts is how far one is overrun. A shared
    // processor counts a neighbour's time, too, so that the best of three runs is what the bomb costs.
    @Test(arguments: TemplateBombs.bombs.indices)
    func `a bomb meets a limit without a long overrun`(index: Int) {
        let source = TemplateBombs.bombs[index]
        #if DEBUG
        let most = 3.0
        #else
        let most = 0.6
        #endif
        var best = Double.infinity
        for _ in 0..<3 where best >= most {
            let start = Self.processorTime()
            #expect(kind(of: source, seconds: 0.04) == .limit, "\(source)")
            best = min(best, Self.processorTime() - start)
        }
        #expect(best < most, "\(source)")
    }

    @Test func `an endless template ends within a second of processor time`() {
        let start = Self.processorTime()
        let loops =
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
        #expect(kind(of: loops) == .limit)
        #expect(Self.processorTime() - start < 1)
    }

    @Test(arguments: TemplateBombs.deepSources)
    func `a source nested too deeply is refused`(source: String) {
        #expect(kind(of: source) == .limit, "\(source.prefix(40))")
    }

    @Test func `a small stack suffices for the deepest templates and the longest chains`() throws {
        let results = Results()
        let thread = Thread {
            for source in TemplateBombs.deepSources { _ = try? ChatTemplate(source: source) }
            for count in [50, 190, 1400] {
                let open = String(repeating: "(", count: count)
                let shut = String(repeating: ")", count: count)
                _ = kind(of: "{{ \(open)1\(shut) }}")
                _ = kind(
                    of: "{% set ns = namespace(a=[]) %}{% for i in range(\(count)) %}"
                        + "{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}{{ ns.a == ns.a }}"
                )
            }
            for source in TemplateBombs.chains {
                results.texts.append((try? render(source, seconds: 30)) ?? "refused")
            }
        }
        thread.stackSize = 512 << 10
        thread.start()
        while !thread.isFinished { Thread.sleep(forTimeInterval: 0.005) }
        #expect(results.texts == TemplateBombs.chains.map { _ in "ok" })
    }

    private final class Results: @unchecked Sendable {
        // Read once the thread has finished.
        var texts: [String] = []
    }

    @Test func `a rendering leaves nothing in memory`() throws {
        // A macro lies in the scope that it holds; 4 MB of text lie there too.
        let source = "{% set t = s ~ 'x' %}{% macro m() %}{{ t|length }}{% endmacro %}{{ m() }}"
        let client = JSONObject([("s", .string(String(repeating: "a", count: 1_000_000)))])
        _ = try render(source, client: client)
        let before = try Self.memory()
        for _ in 0..<40 { #expect(try render(source, client: client) == "1000001") }
        #expect(try Self.memory() - before < 80 << 20)
    }

    @Test func `a long conversation costs as much as it is long`() throws {
        let source = """
            {%- set ns = namespace(all=[], text='') %}{% for m in messages %}
            {%- set ns.all = ns.all + [m] %}<|im_start|>{{ m.role }}
            {% if messages|length > 1 and m.content is string %}{{ m.content|trim ~ '!' }}{% endif %}
            {%- endfor %}{{ ns.all|length }}{{ messages|map(attribute='content')|join|length }}
            """
        let content = JSONValue.string(String(repeating: "word ", count: 60))
        let messages = [JSONValue](repeating: ["role": "user", "content": content], count: 5000)
        let text = try render(
            source,
            seconds: 10,
            client: JSONObject([("messages", .array(messages))])
        )
        #expect(text.hasSuffix("50001500000"))
    }
}
