public import JSON

/// All findings of a machine, as text for people and as JSON for programs.
public struct Report: Sendable, Equatable {
    /// In the order in which they are best read.
    public let findings: [Finding]

    /// Puts findings together.
    public init(_ findings: [Finding]) { self.findings = findings }

    /// Whether nothing stands in the server's way.
    ///
    /// Warnings do not count.
    public var isHealthy: Bool { !findings.contains { $0.result == .failure } }

    /// How many findings have this result.
    public func count(_ result: Finding.Result) -> Int {
        findings.count { $0.result == result }
    }

    /// A line for each finding, its mend below it, and a line that adds them up.
    public var text: String {
        let width = findings.map(\.name.count).max() ?? 0
        var lines: [String] = []
        for finding in findings {
            let label = Self.padded(Self.label(finding.result), to: 8)
            let name = Self.padded(finding.name, to: width)
            let indent = String(repeating: " ", count: 8 + width + 4)
            lines.append("\(label)  \(name)  \(Self.oneLine(finding.found))")
            if let mend = finding.mend { lines.append("\(indent)mend: \(Self.oneLine(mend))") }
        }
        lines.append(
            "\(count(.ok)) ok, \(count(.warning)) warnings, \(count(.failure)) failures, "
                + "\(count(.skipped)) skipped"
        )
        return lines.joined(separator: "\n")
    }

    /// `{"ok": …, "findings": [{"name", "result", "found", "mend"}]}`; `mend` may be null.
    public var json: JSONValue {
        let items = findings.map { finding -> JSONValue in
            [
                "name": .string(finding.name), "result": .string(finding.result.rawValue),
                "found": .string(finding.found),
                "mend": finding.mend.map { .string($0) } ?? nil,
            ]
        }
        return ["ok": .bool(isHealthy), "findings": .array(items)]
    }

    /// Failures stand out where there is no colour.
    private static func label(_ result: Finding.Result) -> String {
        result == .failure ? "FAILURE" : result.rawValue
    }

    private static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// A program's message of several lines must not break the table; control bytes of a file's
    /// name must not reach the terminal.
    private static func oneLine(_ text: String) -> String {
        let parts = text.split(whereSeparator: \.isNewline).joined(separator: " | ")
        return String(
            String.UnicodeScalarView(parts.unicodeScalars.map { $0.value < 0x20 ? "?" : $0 })
        )
    }
}
