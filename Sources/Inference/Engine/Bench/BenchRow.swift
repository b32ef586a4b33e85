internal import Foundation
internal import JSON

/// One line of the table: seconds of something that was done several times.
struct BenchRow {
    /// `decode`, `prefill`, `streams` or `image`.
    let kind: String
    /// Sequences, tokens of the prompt, streams or side lengths.
    let name: String
    /// Of each repetition.
    let seconds: [Double]
    /// Tokens that count in a repetition: drawn ones, or those of a prompt.
    let tokens: Double
    /// The least that a repetition takes where the rates are known.
    var ideal: Double?
    /// What else is known.
    var more: [(String, JSONValue)] = []

    /// The value that the share `part` of all repetitions stays below.
    private func quantile(_ part: Double) -> Double {
        let sorted = seconds.sorted()
        guard let last = sorted.indices.last else { return 0 }
        return sorted[min(last, Int((part * Double(last)).rounded()))]
    }

    private var median: Double { quantile(0.5) }
    private var rate: Double { median > 0 ? tokens / median : 0 }

    /// For the report.
    var json: JSONValue {
        var object = JSONObject()
        object["kind"] = .string(kind)
        object["name"] = .string(name)
        object["repetitions"] = .int(seconds.count)
        object["seconds"] = .double(median)
        object["seconds_p10"] = .double(quantile(0.1))
        object["seconds_p90"] = .double(quantile(0.9))
        object["seconds_all"] = .double(seconds.reduce(0, +))
        object["tokens"] = .double(tokens)
        object["tokens_per_second"] = .double(rate)
        if let ideal, median > 0 {
            object["ideal_seconds"] = .double(ideal)
            object["roofline"] = .double(ideal / median)
        }
        for (key, value) in more { object[key] = value }
        return .object(object)
    }

    /// For people.
    var line: String {
        func text(_ value: Double) -> String { String(format: "%.3f", value * 1000) }
        let share = ideal.map { String(format: "%5.1f %% of the roofline", 100 * $0 / median) }
        return pad(kind, 8) + pad(name, 12)
            + "\(text(median)) ms (\(text(quantile(0.1)))…\(text(quantile(0.9))))  "
            + String(format: "%.1f tokens/s  ", rate) + (share ?? "")
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
