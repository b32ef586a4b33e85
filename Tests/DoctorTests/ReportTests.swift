import Doctor
import JSON
import Testing

@Suite struct ReportTests {
    private let report = Report([
        Finding("nginx", .ok, "1.22.1"),
        Finding("state directory", .failure, "mode 0777", mend: "chmod 700 /state"),
        Finding("models", .warning, "two\nlines", mend: "fetch one"),
        Finding("ports", .skipped, "only root may bind"),
    ])

    @Test func `names and findings stand in columns and mends below them`() {
        let expected = """
            ok        nginx            1.22.1
            FAILURE   state directory  mode 0777
                                       mend: chmod 700 /state
            warning   models           two | lines
                                       mend: fetch one
            skipped   ports            only root may bind
            1 ok, 1 warnings, 1 failures, 1 skipped
            """
        #expect(report.text == expected)
    }

    @Test func `control bytes of a file's name do not reach the terminal`() {
        let text = Report([Finding("models", .ok, "a\u{1B}[2Jb")]).text
        #expect(!text.contains("\u{1B}"))
    }

    @Test func `a failure makes a machine unhealthy, a warning does not`() {
        #expect(!report.isHealthy)
        #expect(Report([Finding("models", .warning, "none", mend: "fetch one")]).isHealthy)
    }

    @Test func `JSON holds every finding with its mend or null`() {
        let json = report.json
        #expect(json["ok"]?.bool == false)
        let findings = json["findings"]?.array ?? []
        #expect(findings.count == 4)
        #expect(findings.first?["mend"]?.isNull == true)
        #expect(findings.first?["result"]?.string == "ok")
        #expect(findings[1]["mend"]?.string == "chmod 700 /state")
    }
}
