/// Jinja's filters, and `tojson` as transformers replaces it.
enum Filters {
    /// Text on both, one or the other side of `text`, up to a width.
    static func padded(_ text: TaintedText, _ width: Int, _ fill: TaintedText, _ side: String)
        -> TaintedText
    {
        let missing = width - text.count
        guard missing > 0, fill.count == 1 else { return text }
        func some(_ count: Int) -> TaintedText { fill.repeated(count) }
        var result: TaintedText
        switch side {
        case "ljust":
            result = text
            result.append(some(missing))
        case "center":
            let left = missing / 2 + (missing & width & 1)
            result = some(left)
            result.append(text)
            result.append(some(missing - left))
        case "zfill" where text.scalars.first == "-" || text.scalars.first == "+":
            result = text[0..<1]
            result.append(some(missing))
            result.append(text[1..<text.count])
        default:
            result = some(missing)
            result.append(text)
        }
        return result
    }
}

extension Interpreter {
    /// Applies a filter.
    func filter(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError) -> Value
    {
        try step()
        if let result = try textFilter(name, value, values) { return result }
        if let result = try listFilter(name, value, values) { return result }
        switch name {
        case "default", "d":
            let standard = values.value(0, "default_value") ?? .text("")
            let alsoFalse = values.value(1, "boolean")?.isTrue ?? false
            return value.isUndefined || (alsoFalse && !value.isTrue) ? standard : value
        case "tojson": return try tojson(value, values)
        case "length", "count":
            switch value {
            case .undefined: return .int(0)
            case .string(let text): return .int(text.count)
            case .list(let items), .tuple(let items): return .int(items.count)
            case .dict(let dict): return .int(dict.count)
            default:
                throw TemplateError(.runtime, "object of type '\(value.typeName)' has no len()")
            }
        case "int":
            try step(value.length >> 4)
            return integer(value, values)
        case "float":
            try step(value.length >> 4)
            if let number = value.number { return .float(number) }
            if case .string(let text) = value, let number = Double(text.stripped().string) {
                return .float(number)
            }
            return values.value(0, "default") ?? .float(0)
        case "abs":
            guard let number = value.number else {
                throw TemplateError(.runtime, "bad operand type for abs(): '\(value.typeName)'")
            }
            guard let whole = value.whole else { return .float(number.magnitude) }
            return .int(whole == .min ? .max : abs(whole))
        case "round": return try rounded(value, values)
        case "attr":
            guard let label = values.value(0, "name") else {
                throw TemplateError(.runtime, "attr needs a name")
            }
            return try Members.attribute(try printed(label).string, of: value)
        case "items":
            if case .dict(let dict) = value {
                try growItems(dict.count)
                return .list(Value.Items(dict.items))
            }
            if value.isUndefined { return .list([]) }
            throw TemplateError(.runtime, "Can only get item pairs from a mapping.")
        case "dictsort": return try dictsort(value, values)
        case "pprint":
            try grow(value.weight)
            return .string(TaintedText(value.repr, madeFrom: value))
        case "filesizeformat", "random", "urlize":
            throw TemplateError(.runtime, "filter '\(name)' is not available")
        default: throw TemplateError(.syntax, "No filter named '\(name)'.")
        }
    }

    private func tojson(_ value: Value, _ values: CallValues) throws(TemplateError) -> Value {
        try grow(value.weight)
        var style = JSONDump()
        style.most = limits.characters
        style.asciiOnly = values.value(0, "ensure_ascii")?.isTrue ?? false
        switch values.value(1, "indent") {
        case .string(let text)?: style.indent = text.string
        case let number?:
            if let whole = number.whole {
                guard whole <= 100 else { throw TemplateError(.limit, "indent too wide") }
                style.indent = String(repeating: " ", count: max(0, whole))
            }
        case nil: break
        }
        if style.indent != nil { style.itemSeparator = "," }
        switch values.value(2, "separators") {
        case .tuple(let parts)? where parts.count == 2, .list(let parts)? where parts.count == 2:
            style.itemSeparator = try printed(parts[0]).string
            style.keySeparator = try printed(parts[1]).string
        default: break
        }
        style.sortKeys = values.value(3, "sort_keys")?.isTrue ?? false
        let text = try value.json(style)
        try grow(text.unicodeScalars.count)
        return .string(TaintedText(text, madeFrom: value))
    }

    private func integer(_ value: Value, _ values: CallValues) -> Value {
        let standard = values.value(0, "default") ?? .int(0)
        let base = values.value(1, "base")?.whole ?? 10
        switch value {
        case .string(let text):
            var digits = text.stripped().string.replacing("_", with: "").lowercased()
            for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)]
            where base == radix && digits.hasPrefix(prefix) {
                digits.removeFirst(2)
            }
            if (2...36).contains(base), let whole = Int(digits, radix: base) { return .int(whole) }
            if let number = Double(digits), let whole = Int(exactly: number.rounded(.towardZero)) {
                return .int(whole)
            }
            return standard
        default:
            if let whole = value.whole { return .int(whole) }
            guard let number = value.number, let whole = Int(exactly: number.rounded(.towardZero))
            else { return standard }
            return .int(whole)
        }
    }

    private func rounded(_ value: Value, _ values: CallValues) throws(TemplateError) -> Value {
        guard let number = value.number else {
            throw TemplateError(.runtime, "round needs a number")
        }
        let digits = min(max(values.value(0, "precision")?.whole ?? 0, -300), 300)
        var factor = 1.0
        for _ in 0..<abs(digits) { factor *= 10 }
        let scaled = digits < 0 ? number / factor : number * factor
        let whole: Double
        switch try printed(values.value(1, "method"))?.string ?? "common" {
        case "ceil": whole = scaled.rounded(.up)
        case "floor": whole = scaled.rounded(.down)
        case "common":
            // Python rounds the exact decimal value, which printf does too.
            if let whole = value.whole, digits >= 0 { return .int(whole) }
            if digits >= 0, digits <= 100 {
                return .float(Double(try Formatting.real(number, ".\(digits)", "f")) ?? number)
            }
            whole = scaled.rounded(.toNearestOrEven)
        default: throw TemplateError(.runtime, "method must be common, ceil or floor")
        }
        let result = digits < 0 ? whole * factor : whole / factor
        return .float(result.isFinite ? result : number)
    }

    private func dictsort(_ value: Value, _ values: CallValues) throws(TemplateError) -> Value {
        guard case .dict(let dict) = value else {
            throw TemplateError(.runtime, "dictsort needs a mapping")
        }
        let sensitive = values.value(0, "case_sensitive")?.isTrue ?? false
        let byValue = try printed(values.value(1, "by"))?.string == "value"
        try growItems(dict.count)
        let sorted = try self.sorted(dict.items, sensitive: sensitive) { item in
            guard case .tuple(let pair) = item else { return item }
            return pair[byValue ? 1 : 0]
        }
        let isReversed = values.value(2, "reverse")?.isTrue ?? false
        return .list(Value.Items(isReversed ? sorted.reversed() : sorted))
    }

    /// A stable merge sort, since comparing may throw.
    func sorted(_ items: [Value], sensitive: Bool, key: (Value) throws(TemplateError) -> Value)
        throws(TemplateError) -> [Value]
    {
        var keyed: [(key: Value, item: Value)] = []
        for item in items {
            var sortKey = try key(item)
            if !sensitive, case .string(let text) = sortKey {
                try step(text.count >> 4)
                sortKey = .string(text.mapped { $0.properties.lowercaseMapping })
            }
            keyed.append((sortKey, item))
        }
        var width = 1
        while width < keyed.count {
            var merged: [(key: Value, item: Value)] = []
            merged.reserveCapacity(keyed.count)
            var start = 0
            while start < keyed.count {
                let middle = min(start + width, keyed.count)
                let end = min(middle + width, keyed.count)
                var (a, b) = (start, middle)
                while a < middle || b < end {
                    try step()
                    var takesRight = a == middle
                    if !takesRight, b < end {
                        takesRight = try Operators.isLess(keyed[b].key, keyed[a].key, self)
                    }
                    merged.append(takesRight ? keyed[b] : keyed[a])
                    if takesRight { b += 1 } else { a += 1 }
                }
                start = end
            }
            keyed = merged
            width *= 2
        }
        return keyed.map(\.item)
    }
}
