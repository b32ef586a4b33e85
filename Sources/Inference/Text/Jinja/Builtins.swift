internal import Glibc

/// The functions that templates may call.
enum Builtins {
    static let functions: Set<String> = [
        "range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now",
        "lipsum",
    ]

    /// Items of a range, as Jinja's sandbox bounds them.
    private static let rangeLimit = 100_000
    /// Characters of what `raise_exception` says.
    private static let longestMessage = 1000

    static func call(_ name: String, _ values: CallValues, _ interpreter: Interpreter)
        throws(TemplateError) -> Value
    {
        switch name {
        case "range": return try range(values.positional, interpreter)
        case "dict":
            var dict = Value.Dict()
            if case .dict(let first)? = values.positional.first { dict = first }
            try interpreter.growItems(dict.count + values.named.count)
            for (key, value) in values.named { dict.set(.text(key), value) }
            return .dict(dict)
        case "namespace":
            var members: [String: Value] = [:]
            if case .dict(let first)? = values.positional.first {
                try interpreter.growItems(first.count)
                for (key, value) in zip(first.keys, first.values) {
                    members[try interpreter.printed(key).string] = value
                }
            }
            for (key, value) in values.named { members[key] = value }
            return .namespace(try interpreter.kept(Value.Namespace(members)))
        case "cycler":
            guard !values.positional.isEmpty else {
                throw TemplateError(.runtime, "at least one item has to be provided")
            }
            return .counter(try interpreter.kept(Value.Counter(items: values.positional)))
        case "joiner":
            let separator = try interpreter.printed(values.value(0, "sep")) ?? TaintedText(", ")
            return .counter(
                try interpreter.kept(Value.Counter(items: nil, separator: separator))
            )
        case "raise_exception":
            let message = try interpreter.printed(values.value(0, "message")) ?? TaintedText()
            throw TemplateError(.raised, message[0..<min(message.count, longestMessage)].string)
        case "strftime_now":
            let format = try interpreter.printed(values.value(0, "format")) ?? TaintedText()
            return .string(TaintedText(time(format.string, interpreter.clock), madeFrom: [format]))
        default: throw TemplateError(.runtime, "'\(name)' is not available")
        }
    }

    private static func range(_ arguments: [Value], _ interpreter: Interpreter)
        throws(TemplateError) -> Value
    {
        let numbers = arguments.compactMap(\.whole)
        guard numbers.count == arguments.count, (1...3).contains(numbers.count) else {
            throw TemplateError(.runtime, "range needs one to three integers")
        }
        let start = numbers.count > 1 ? numbers[0] : 0
        let end = numbers.count > 1 ? numbers[1] : numbers[0]
        let stride = numbers.count > 2 ? numbers[2] : 1
        guard stride != 0 else { throw TemplateError(.runtime, "range() arg 3 must not be zero") }
        var items: [Value] = []
        var at = start
        while stride > 0 ? at < end : at > end {
            guard items.count < rangeLimit else {
                throw TemplateError(.limit, "range too big, maximum is \(rangeLimit)")
            }
            items.append(.int(at))
            let (next, overflow) = at.addingReportingOverflow(stride)
            guard !overflow else { break }
            at = next
        }
        try interpreter.growItems(items.count)
        return .list(Value.Items(items))
    }

    /// `strftime` of the local time.
    private static func time(_ format: String, _ clock: Double) -> String {
        guard !format.isEmpty, clock.magnitude < 1e12 else { return "" }
        var seconds = time_t(clock)
        var parts = tm()
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: min(format.utf8.count, 4096) * 16 + 256)
        let count = strftime(&buffer, buffer.count, format, &parts)
        return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
