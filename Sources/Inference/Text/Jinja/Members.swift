/// Attributes, items and slices.
enum Members {
    /// `value.name`: a method or attribute, else the item of that name, else undefined.
    static func attribute(_ name: String, of value: Value) throws(TemplateError) -> Value {
        if case .undefined(let what) = value {
            throw TemplateError(.runtime, "'\(what)' is undefined")
        }
        // Python's internals are out of reach, as in the sandbox.
        if name.hasPrefix("__") { return .undefined(name) }
        if let found = own(name, of: value) { return found }
        if case .dict(let dict) = value, let item = dict[name] { return item }
        return .undefined("\(value.typeName) object has no attribute '\(name)'")
    }

    /// `value[index]`: the item, else for a name the attribute, else undefined.
    static func item(_ index: Value, of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let what): throw TemplateError(.runtime, "'\(what)' is undefined")
        case .dict(let dict):
            if let item = dict[index] { return item }
        case .list(let items), .tuple(let items):
            if let place = place(index, items.count) { return items[place] }
        case .string(let text):
            if let place = place(index, text.count) { return .string(text[place..<place + 1]) }
        default: break
        }
        if case .string(let name) = index, let found = own(name.string, of: value) { return found }
        return .undefined("\(value.typeName) object has no element \(index.brief)")
    }

    private static func place(_ index: Value, _ count: Int) -> Int? {
        guard let whole = index.whole else { return nil }
        let place = whole < 0 ? whole &+ count : whole
        return (0..<count).contains(place) ? place : nil
    }

    /// What a value has besides its items.
    private static func own(_ name: String, of value: Value) -> Value? {
        switch value {
        case .namespace(let space): return space.members[name]
        case .loop(let state): return loop(name, state)
        case .string where Methods.ofStrings.contains(name),
            .dict where Methods.ofDicts.contains(name),
            .list where Methods.ofLists.contains(name),
            .tuple where Methods.ofTuples.contains(name):
            return .method(value, name)
        case .counter(let counter):
            if name == "current", let items = counter.items {
                return items[counter.place % items.count]
            }
            return ["next", "reset"].contains(name) ? .method(value, name) : nil
        case .macro(let macro):
            switch name {
            case "name": return .text(macro.definition.name)
            case "arguments":
                return .tuple(
                    Value.Items(macro.definition.parameters.map { .text($0.name) })
                )
            default: return nil
            }
        default: return nil
        }
    }

    private static func loop(_ name: String, _ state: Value.LoopState) -> Value? {
        let (place, items) = (state.place, state.items)
        switch name {
        case "index": return .int(place + 1)
        case "index0": return .int(place)
        case "revindex": return .int(items.count - place)
        case "revindex0": return .int(items.count - place - 1)
        case "first": return .bool(place == 0)
        case "last": return .bool(place == items.count - 1)
        case "length": return .int(items.count)
        case "depth": return .int(state.depth)
        case "depth0": return .int(state.depth - 1)
        case "previtem":
            return place > 0 ? items[place - 1] : .undefined("there is no previous item")
        case "nextitem":
            return place + 1 < items.count ? items[place + 1] : .undefined("there is no next item")
        case "cycle", "changed": return .method(.loop(state), name)
        default: return nil
        }
    }

    /// `value[low:high:stride]` as Python cuts it.
    static func slice(_ value: Value, _ low: Int?, _ high: Int?, _ stride: Int?)
        throws(TemplateError) -> Value
    {
        let stride = stride ?? 1
        guard stride != 0 else { throw TemplateError(.runtime, "slice step cannot be zero") }
        func places(_ count: Int) -> [Int] {
            func clamp(_ bound: Int?, _ standard: Int) -> Int {
                guard var bound else { return standard }
                if bound < 0 { bound = bound < -count ? (stride < 0 ? -1 : 0) : bound + count }
                return stride < 0 ? min(max(bound, -1), count - 1) : min(bound, count)
            }
            let start = clamp(low, stride < 0 ? count - 1 : 0)
            let end = high == nil ? (stride < 0 ? -1 : count) : clamp(high, 0)
            var found: [Int] = []
            var at = start
            while stride < 0 ? at > end : at < end {
                found.append(at)
                let (next, overflow) = at.addingReportingOverflow(stride)
                guard !overflow else { break }
                at = next
            }
            return found
        }
        switch value {
        case .undefined(let what): throw TemplateError(.runtime, "'\(what)' is undefined")
        case .list(let items): return .list(Value.Items(places(items.count).map { items[$0] }))
        case .tuple(let items): return .tuple(Value.Items(places(items.count).map { items[$0] }))
        case .string(let text):
            let picks = places(text.count)
            if stride == 1 {
                return .string(picks.first.map { text[$0..<$0 + picks.count] } ?? TaintedText())
            }
            var result = TaintedText()
            for place in picks { result.append(text, place..<place + 1) }
            return .string(result)
        default: return .undefined("\(value.typeName) object is not sliceable")
        }
    }
}
