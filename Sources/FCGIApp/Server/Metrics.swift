internal import Synchronization

/// Counters and histograms in Prometheus' text form.
///
/// Names and labels are bounded: nothing that a client sends becomes a label. Safe from any thread.
final class Metrics: Sendable {
    private struct Series: Sendable {
        var counters: [String: Double] = [:]
        var histograms: [String: Histogram] = [:]
    }

    private struct Histogram: Sendable {
        static let bounds = [
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
        ]
        var counts = [Int](repeating: 0, count: bounds.count)
        var sum = 0.0
        var total = 0
    }

    private let series = Mutex(Series())

    /// Adds to a counter: `name{label="value"}` is the whole series name.
    func count(_ name: String, _ amount: Double = 1) {
        series.withLock { $0.counters[name, default: 0] += amount }
    }

    /// Adds one observation in seconds.
    func observe(_ name: String, _ seconds: Double) {
        series.withLock { series in
            var histogram = series.histograms[name] ?? Histogram()
            for (place, bound) in Histogram.bounds.enumerated() where seconds <= bound {
                histogram.counts[place] += 1
            }
            histogram.sum += seconds
            histogram.total += 1
            series.histograms[name] = histogram
        }
    }

    /// The present value of a counter.
    func value(of name: String) -> Double { series.withLock { $0.counters[name] ?? 0 } }

    /// The exposition, `gauges` included.
    func text(gauges: [(String, Double)], counters others: [(String, Double)]) -> String {
        var (counters, histograms) = series.withLock { ($0.counters, $0.histograms) }
        for (name, value) in others { counters[name] = value }
        var lines: [String] = []
        var described: Set<String> = []
        func describe(_ series: String, _ type: String) {
            let name = String(series.prefix { $0 != "{" })
            if described.insert(name).inserted { lines.append("# TYPE \(name) \(type)") }
        }
        for (name, value) in gauges {
            describe(name, "gauge")
            lines.append("\(name) \(Self.number(value))")
        }
        for (name, value) in counters.sorted(by: { $0.key < $1.key }) {
            describe(name, "counter")
            lines.append("\(name) \(Self.number(value))")
        }
        for (name, histogram) in histograms.sorted(by: { $0.key < $1.key }) {
            describe(name, "histogram")
            for (bound, count) in zip(Histogram.bounds, histogram.counts) {
                lines.append("\(name)_bucket{le=\"\(Self.number(bound))\"} \(count)")
            }
            lines.append("\(name)_bucket{le=\"+Inf\"} \(histogram.total)")
            lines.append("\(name)_sum \(histogram.sum)")
            lines.append("\(name)_count \(histogram.total)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }
}
