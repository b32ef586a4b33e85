// Filters of lists.
extension Interpreter {
    /// Applies a filter of lists; nil where there is none of this name.
    func listFilter(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError)
        -> Value?
    {
        switch name {
        case "join":
            let separator = try printed(values.value(0, "d")) ?? TaintedText()
            let attribute = values.value(1, "attribute")
            var result = TaintedText()
            for (place, item) in try iterate(value).enumerated() {
                let text = try printed(try part(attribute, of: item))
                let added = text.count + separator.count
                try grow(result.count + added, added: added)
                try step()
                if place > 0 { result.append(separator) }
                result.append(text)
            }
            return .string(result)
        case "list": return .list(Value.Items(try iterate(value)))
        case "first":
            if case .string(let text) = value, !text.isEmpty { return .string(text[0..<1]) }
            return try iterate(value).first ?? .undefined("No first item, sequence was empty.")
        case "last":
            if case .string(let text) = value, !text.isEmpty {
                return .string(text[text.count - 1..<text.count])
            }
            return try iterate(value).last ?? .undefined("No last item, sequence was empty.")
        case "reverse":
            if case .string(let text) = value {
                var result = TaintedText()
                try step(text.count >> 4)
                for place in (0..<text.count).reversed() { result.append(text, place..<place + 1) }
                return .string(result)
            }
            return .list(Value.Items(try iterate(value).reversed()))
        case "sort":
            let items = try sorted(
                try iterate(value),
                sensitive: values.value(1, "case_sensitive")?.isTrue ?? false
            ) {
                (item) throws(TemplateError) in try part(values.value(2, "attribute"), of: item)
            }
            let isReversed = values.value(0, "reverse")?.isTrue ?? false
            return .list(Value.Items(isReversed ? items.reversed() : items))
        case "unique":
            var seen: Set<Value.Dict.Key> = []
            var others: [Value] = []
            var kept: [Value] = []
            for item in try iterate(value) {
                var key = try part(values.value(1, "attribute"), of: item)
                if !(values.value(0, "case_sensitive")?.isTrue ?? false),
                    case .string(let text) = key
                {
                    key = .string(text.mapped { $0.properties.lowercaseMapping })
                }
                try step(1 + key.weight >> 4)
                if let name = key.key {
                    if seen.insert(name).inserted { kept.append(item) }
                } else if !(try contains(others, key)) {
                    others.append(key)
                    kept.append(item)
                }
            }
            return .list(Value.Items(kept))
        case "min", "max":
            let attribute = values.value(1, "attribute")
            let items = try sorted(
                try iterate(value),
                sensitive: values.value(0, "case_sensitive")?.isTrue ?? false
            ) {
                (item) throws(TemplateError) in try part(attribute, of: item)
            }
            return (name == "min" ? items.first : items.last)
                ?? .undefined("No aggregated item, sequence was empty.")
        case "sum":
            var total = values.value(1, "start") ?? .int(0)
            for item in try iterate(value) {
                total = try Operators.apply(
                    "+",
                    total,
                    try part(values.value(0, "attribute"), of: item),
                    self
                )
            }
            return total
        case "map": return .list(Value.Items(try mapped(value, values)))
        case "select", "reject", "selectattr", "rejectattr":
            return .list(Value.Items(try chosen(name, value, values)))
        case "batch", "slice": return .list(Value.Items(try grouped(name, value, values)))
        case "groupby":
            guard let attribute = values.value(0, "attribute") else {
                throw TemplateError(.runtime, "groupby needs an attribute")
            }
            let items = try sorted(try iterate(value), sensitive: false) {
                (item) throws(TemplateError) in try part(attribute, of: item)
            }
            var groups: [(Value, [Value])] = []
            for item in items {
                let key = try part(attribute, of: item)
                if let last = groups.last, try equal(last.0, key) {
                    groups[groups.count - 1].1.append(item)
                } else {
                    groups.append((key, [item]))
                }
            }
            return .list(Value.Items(groups.map { .tuple([$0.0, .list(Value.Items($0.1))]) }))
        default: return nil
        }
    }

    private func contains(_ items: [Value], _ wanted: Value) throws(TemplateError) -> Bool {
        for item in items where try equal(item, wanted) { return true }
        try step(items.count >> 4)
        return false
    }

    /// `a.b.0` of an item; the item itself without an attribute.
    private func part(_ attribute: Value?, of item: Value) throws(TemplateError) -> Value {
        switch attribute {
        case nil, .some(.none): return item
        case .int(let place)?: return try Members.item(.int(place), of: item)
        case let path?:
            var value = item
            let words = try printed(path)
            try step(words.count >> 4)
            for word in words.string.split(separator: ".") {
                let key = Int(word).map(Value.int) ?? Value.text(String(word))
                value = try Members.item(key, of: value)
            }
            return value
        }
    }

    private func mapped(_ value: Value, _ values: CallValues) throws(TemplateError) -> [Value] {
        var results: [Value] = []
        if let attribute = values.named.first(where: { $0.0 == "attribute" })?.1 {
            let standard = values.named.first { $0.0 == "default" }?.1
            for item in try iterate(value) {
                let found = try part(attribute, of: item)
                results.append(found.isUndefined ? standard ?? found : found)
            }
            return results
        }
        guard let name = try printed(values.positional.first)?.string else {
            throw TemplateError(.runtime, "map requires a filter argument")
        }
        let rest = CallValues(positional: Array(values.positional.dropFirst()), named: values.named)
        // Nothing, whatever its kind, maps to nothing.
        for item in value.isTrue ? try iterate(value) : [] {
            results.append(try filter(name, item, rest))
        }
        return results
    }

    private func chosen(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError)
        -> [Value]
    {
        let byAttribute = name.hasSuffix("attr")
        let wanted = name.hasPrefix("select")
        var arguments = values.positional[...]
        let attribute = byAttribute ? arguments.popFirst() : nil
        let testName = try printed(arguments.popFirst())?.string
        let rest = CallValues(positional: Array(arguments), named: values.named)
        var kept: [Value] = []
        for item in value.isTrue ? try iterate(value) : [] {
            let subject = try part(attribute, of: item)
            let holds =
                try testName.map { (name) throws(TemplateError) in try test(name, subject, rest) }
                ?? subject.isTrue
            if holds == wanted { kept.append(item) }
        }
        return kept
    }

    private func grouped(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError)
        -> [Value]
    {
        guard let count = values.positional.first?.whole, count > 0 else {
            throw TemplateError(.runtime, "\(name) needs a positive number")
        }
        let fill = values.value(1, "fill_with")
        let items = try iterate(value)
        var groups: [Value] = []
        if name == "batch" {
            for start in stride(from: 0, to: items.count, by: count) {
                var group = Array(items[start..<min(start + count, items.count)])
                if let fill, group.count < count {
                    try growItems(count)
                    group += repeatElement(fill, count: count - group.count)
                }
                groups.append(.list(Value.Items(group)))
            }
            return groups
        }
        try growItems(count)
        let (size, extra) = items.count.quotientAndRemainder(dividingBy: count)
        var start = 0
        for place in 0..<count {
            let end = start + size + (place < extra ? 1 : 0)
            var group = Array(items[start..<end])
            if let fill, extra > 0, place >= extra { group.append(fill) }
            groups.append(.list(Value.Items(group)))
            start = end
        }
        return groups
    }
}
