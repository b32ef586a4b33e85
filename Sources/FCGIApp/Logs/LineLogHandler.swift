internal import Foundation
internal import Glibc
internal import JSON
public import Logging
internal import Synchronization

/// Writes log lines to a descriptor, as JSON or text, each with one write.
///
/// Messages and metadata never hold a key, a prompt or an output: those who log see to that, and a test
/// with marked secrets checks it.
public struct LineLogHandler: LogHandler {
    /// Where lines go; shared by all loggers.
    final class Output: Sendable {
        let descriptor: Int32
        let json: Bool
        private let lock = Mutex(())

        /// Appends to `path`, or writes to standard error where it is empty.
        init(path: String, json: Bool) throws {
            self.json = json
            if path.isEmpty {
                descriptor = 2
            } else {
                descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
                guard descriptor >= 0 else {
                    throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
                }
            }
        }

        func write(_ line: [UInt8]) {
            lock.withLock { _ in
                var rest = line[...]
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes {
                        Glibc.write(descriptor, $0.baseAddress, $0.count)
                    }
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { return }
                    rest = rest.dropFirst(count)
                }
            }
        }
    }

    /// Makes every logger of this process write such lines; called once, before the first logger.
    ///
    /// `level`: a level of swift-log; any other word counts as `info`. `json`: one object a line, else text.
    /// Throws: where the file cannot be opened.
    public static func bootstrap(path: String = "", level: String, json: Bool) throws {
        let output = try Output(path: path, json: json)
        let level = Logger.Level(rawValue: level) ?? .info
        LoggingSystem.bootstrap { LineLogHandler(label: $0, level: level, output: output) }
    }

    /// Added to every line of this logger.
    public var metadata: Logger.Metadata = [:]
    /// Lines below it are dropped.
    public var logLevel: Logger.Level
    private let label: String
    private let output: Output

    private init(label: String, level: Logger.Level, output: Output) {
        self.label = label
        logLevel = level
        self.output = output
    }

    /// One value of the logger's metadata.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }.sorted {
            $0.key < $1.key
        }
        var line: [UInt8] = []
        if output.json {
            var object = JSONObject()
            object["t"] = .string(Self.timestamp())
            object["level"] = .string(event.level.rawValue)
            object["room"] = .string(label)
            object["message"] = .string(event.message.description)
            for (key, value) in all { object[key] = .string(value.description) }
            line = JSONValue.object(object).bytes()
        } else {
            var text = "\(Self.timestamp()) \(event.level.rawValue) \(label): \(event.message)"
            for (key, value) in all { text += " \(key)=\(value)" }
            line = Array(text.replacing("\n", with: " ").utf8)
        }
        line.append(0x0A)
        output.write(line)
    }

    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let milliseconds = String(1000 + now.tv_nsec / 1_000_000).dropFirst()
        return "\(1900 + parts.tm_year)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(milliseconds)Z"
    }
}
