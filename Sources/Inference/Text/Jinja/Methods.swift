/// Methods of strings, dictionaries and lists, as Python has them.
///
/// Those that change their object are forbidden, as in Jinja's immutable sandbox.
enum Methods {
    static let ofStrings: Set<String> = [
        "split", "rsplit", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace",
        "upper", "lower",
        "title", "capitalize", "join", "find", "rfind", "index", "count", "format", "splitlines",
        "removeprefix",
        "removesuffix", "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower",
        "isnumeric", "isdecimal",
        "zfill", "ljust", "rjust", "center", "partition", "rpartition", "swapcase", "encode",
        "casefold",
    ]
    static let ofDicts: Set<String> = [
        "items", "keys", "values", "get", "copy", "update", "pop", "popitem", "clear", "setdefault",
    ]
    static let ofLists: Set<String> = [
        "index", "count", "copy", "append", "extend", "insert", "pop", "remove", "reverse", "sort",
        "clear",
    ]
    static let ofTuples: Set<String> = ["index", "count"]
    private static let changing: Set<String> = [
        "update", "pop", "popitem", "clear", "setdefault", "append", "extend", "insert", "remove",
        "reverse", "sort",
    ]

    static func call(
        _ name: String,
        on owner: Value,
        _ values: CallValues,
        _ interpreter: Interpreter
    )
        throws(TemplateError) -> Value
    {
        switch owner {
        case .string(let text): return try string(name, text, values, interpreter)
        case .loop(let state):
            if name == "cycle" {
                guard !values.positional.isEmpty else {
                    throw TemplateError(.runtime, "no items for cycling given")
                }
                return values.positional[state.place % values.positional.count]
            }
            let given = Value.Items(values.positional)
            let last = state.lastChanged
            state.lastChanged = given
            guard let last else { return .bool(true) }
            return .bool(!(try interpreter.equal(.tuple(last), .tuple(given))))
        case .counter(let counter):
            guard let items = counter.items else { break }
            if name == "reset" {
                counter.place = 0
                return .none
            }
            defer { counter.place = (counter.place + 1) % items.count }
            return items[counter.place]
        default: break
        }
        if changing.contains(name) {
            throw TemplateError(
                .security,
                "access to attribute '\(name)' of '\(owner.typeName)' object is unsafe."
            )
        }
        switch (owner, name) {
        case (.dict(let dict), "items"):
            try interpreter.growItems(dict.count)
            return .list(Value.Items(dict.items))
        case (.dict(let dict), "keys"):
            try interpreter.step(dict.count >> 4)
            return .list(Value.Items(dict.keys))
        case (.dict(let dict), "values"):
            try interpreter.step(dict.count >> 4)
            return .list(Value.Items(dict.values))
        case (.dict(let dict), "get"):
            guard let key = values.value(0, "key") else {
                throw TemplateError(.runtime, "get needs a key")
            }
            try interpreter.step(key.weight >> 6)
            return dict[key] ?? values.value(1, "default") ?? .none
        case (_, "copy"): return owner
        case (.list(let items), _), (.tuple(let items), _):
            guard let wanted = values.positional.first else { break }
            try interpreter.step(Operators.searchCost(items, wanted))
            if name == "count" { return .int(items.values.count { Value.equal($0, wanted) }) }
            if let place = items.values.firstIndex(where: { Value.equal($0, wanted) }) {
                return .int(place)
            }
            throw TemplateError(.runtime, "\(wanted.brief) is not in list")
        default: break
        }
        throw TemplateError(.runtime, "'\(owner.typeName)' object has no attribute '\(name)'")
    }

    private static func string(
        _ name: String,
        _ text: TaintedText,
        _ values: CallValues,
        _ interpreter: Interpreter
    ) throws(TemplateError) -> Value {
        try interpreter.step(text.count >> 6)
        func argument(_ place: Int, _ label: String) throws(TemplateError) -> TaintedText? {
            switch values.value(place, label) {
            case nil, .some(.none): return nil
            case .string(let value)?: return value
            case let other?:
                throw TemplateError(.runtime, "\(name): expected str, not \(other.typeName)")
            }
        }
        func need(_ place: Int, _ label: String) throws(TemplateError) -> TaintedText {
            guard let value = try argument(place, label) else {
                throw TemplateError(.runtime, "\(name): missing argument")
            }
            return value
        }
        func number(_ place: Int, _ label: String) -> Int? { values.value(place, label)?.whole }
        func limit(_ place: Int) -> Int {
            guard let most = number(place, "maxsplit"), most >= 0 else { return .max }
            return most
        }
        func list(_ parts: [TaintedText]) throws(TemplateError) -> Value {
            try interpreter.growItems(parts.count)
            return .list(Value.Items(parts.map(Value.string)))
        }
        switch name {
        case "strip": return .string(text.stripped(try argument(0, "chars")))
        case "lstrip": return .string(text.stripped(try argument(0, "chars"), right: false))
        case "rstrip": return .string(text.stripped(try argument(0, "chars"), left: false))
        case "split":
            guard let separator = try argument(0, "sep") else {
                return try list(text.words(limit: limit(1)))
            }
            guard !separator.isEmpty else { throw TemplateError(.runtime, "empty separator") }
            return try list(text.split(separator, limit: limit(1)))
        case "rsplit":
            guard let separator = try argument(0, "sep") else {
                return try list(text.words(lastFirst: limit(1)))
            }
            guard !separator.isEmpty else { throw TemplateError(.runtime, "empty separator") }
            return try list(text.split(separator, limit: limit(1), fromEnd: true))
        case "splitlines":
            let keep = values.value(0, "keepends")?.isTrue ?? false
            return try list(lines(text, keepEnds: keep))
        case "startswith", "endswith":
            let choices: [Value]
            if case .tuple(let items)? = values.positional.first {
                choices = items.values
            } else {
                choices = Array(values.positional.prefix(1))
            }
            for choice in choices {
                guard case .string(let part) = choice else {
                    throw TemplateError(
                        .runtime,
                        "\(name) first arg must be str or a tuple of str, not \(choice.typeName)"
                    )
                }
                try interpreter.step(1 + part.count >> 6)
                if name == "startswith" ? text.hasPrefix(part) : text.hasSuffix(part) {
                    return .bool(true)
                }
            }
            return .bool(false)
        case "replace":
            let most = number(2, "count") ?? -1
            let old = try need(0, "old")
            let new = try need(1, "new")
            let found = old.isEmpty ? text.count + 1 : text.places(of: old).count
            let (added, overflow) = found.multipliedReportingOverflow(by: new.count)
            guard !overflow else { throw TemplateError(.limit, "grew too large") }
            try interpreter.grow(text.count + added)
            return .string(text.replacing(old, with: new, limit: most < 0 ? .max : most))
        case "upper": return .string(text.mapped { $0.properties.uppercaseMapping })
        case "lower", "casefold": return .string(text.mapped { $0.properties.lowercaseMapping })
        case "swapcase":
            return .string(
                text.mapped {
                    $0.properties.isUppercase
                        ? $0.properties.lowercaseMapping : $0.properties.uppercaseMapping
                }
            )
        case "title": return .string(titled(text, byWord: true))
        case "capitalize": return .string(titled(text, byWord: false))
        case "join":
            guard let items = values.positional.first else {
                throw TemplateError(.runtime, "join: missing argument")
            }
            var result = TaintedText()
            for (place, item) in try interpreter.iterate(items).enumerated() {
                guard case .string(let part) = item else {
                    throw TemplateError(
                        .runtime,
                        "sequence item \(place): expected str instance, \(item.typeName) found"
                    )
                }
                let added = part.count + text.count
                try interpreter.grow(result.count + added, added: added)
                try interpreter.step()
                if place > 0 { result.append(text) }
                result.append(part)
            }
            return .string(result)
        case "find", "index", "rfind":
            let part = try need(0, "sub")
            let places = text.places(of: part, limit: 1, fromEnd: name == "rfind")
            if let place = places.first { return .int(place) }
            if part.isEmpty { return .int(name == "rfind" ? text.count : 0) }
            guard name != "index" else { throw TemplateError(.runtime, "substring not found") }
            return .int(-1)
        case "count":
            let part = try need(0, "sub")
            return .int(part.isEmpty ? text.count + 1 : text.places(of: part).count)
        case "format": return .string(try Formatting.braces(text, values, interpreter))
        case "removeprefix":
            let part = try need(0, "prefix")
            return .string(text.hasPrefix(part) ? text[part.count..<text.count] : text)
        case "removesuffix":
            let part = try need(0, "suffix")
            return .string(
                !part.isEmpty && text.hasSuffix(part) ? text[0..<text.count - part.count] : text
            )
        case "partition", "rpartition":
            let separator = try need(0, "sep")
            guard !separator.isEmpty else { throw TemplateError(.runtime, "empty separator") }
            let places = text.places(of: separator, limit: 1, fromEnd: name == "rpartition")
            guard let place = places.first else {
                let empty = Value.string(TaintedText())
                return .tuple(
                    name == "partition"
                        ? [.string(text), empty, empty] : [empty, empty, .string(text)]
                )
            }
            return .tuple([
                .string(text[0..<place]), .string(separator),
                .string(text[place + separator.count..<text.count]),
            ])
        case "zfill", "ljust", "rjust", "center":
            guard let width = number(0, "width") else {
                throw TemplateError(.runtime, "\(name): expected an integer")
            }
            try interpreter.grow(width)
            let fill =
                name == "zfill" ? TaintedText("0") : try argument(1, "fillchar") ?? TaintedText(" ")
            return .string(Filters.padded(text, width, fill, name))
        case "encode": throw TemplateError(.runtime, "bytes are not available")
        default: return .bool(holds(name, text))
        }
    }

    private static func holds(_ name: String, _ text: TaintedText) -> Bool {
        guard !text.isEmpty else { return false }
        func all(_ test: (Unicode.Scalar.Properties) -> Bool) -> Bool {
            text.scalars.allSatisfy { test($0.properties) }
        }
        switch name {
        case "isspace": return text.scalars.allSatisfy(TaintedText.isPythonSpace)
        case "isdigit": return all { $0.numericType == .decimal || $0.numericType == .digit }
        case "isdecimal": return all { $0.numericType == .decimal }
        case "isnumeric": return all { $0.numericType != nil }
        case "isalpha": return all { isLetter($0) }
        case "isalnum": return all { isLetter($0) || $0.numericType != nil }
        case "isupper", "islower":
            let cased = text.scalars.filter { $0.properties.isCased }
            return !cased.isEmpty
                && cased.allSatisfy {
                    name == "isupper" ? $0.properties.isUppercase : $0.properties.isLowercase
                }
        default: return false
        }
    }

    private static func isLetter(_ properties: Unicode.Scalar.Properties) -> Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            true
        default: false
        }
    }

    static func titled(_ text: TaintedText, byWord: Bool) -> TaintedText {
        var inWord = false
        return text.mapped { scalar in
            defer { inWord = byWord ? scalar.properties.isCased : true }
            return inWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
        }
    }

    static func lines(_ text: TaintedText, keepEnds: Bool) -> [TaintedText] {
        var lines: [TaintedText] = []
        var start = 0
        var at = 0
        while at < text.count {
            let scalar = text.scalars[at]
            switch scalar.value {
            case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: break
            default:
                at += 1
                continue
            }
            let end =
                scalar == "\r" && at + 1 < text.count && text.scalars[at + 1] == "\n"
                ? at + 2 : at + 1
            lines.append(text[start..<(keepEnds ? end : at)])
            start = end
            at = end
        }
        if start < text.count { lines.append(text[start..<text.count]) }
        return lines
    }
}
