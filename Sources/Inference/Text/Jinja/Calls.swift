// Calls of macros, functions, methods and loops.
extension Interpreter {
    /// What a `for` goes over.
    func iterate(_ value: Value) throws(TemplateError) -> [Value] {
        switch value {
        case .undefined: return []
        case .list(let items), .tuple(let items):
            try step(items.count >> 4)
            return items.values
        case .dict(let dict): return dict.keys
        case .string(let text):
            try growItems(text.count)
            return (0..<text.count).map { .string(text[$0..<$0 + 1]) }
        default: throw TemplateError(.runtime, "'\(value.typeName)' object is not iterable")
        }
    }

    func call(_ callee: Value, _ values: CallValues) throws(TemplateError) -> Value {
        try step()
        return try deeper { () throws(TemplateError) in
            switch callee {
            case .macro(let macro): return try call(macro, values)
            case .function(let name): return try Builtins.call(name, values, self)
            case .method(let owner, let name):
                return try Methods.call(name, on: owner, values, self)
            case .loop(let state):
                guard let again = state.again else {
                    throw TemplateError(.runtime, "the loop is not recursive")
                }
                do { return try again(values.positional.first ?? .undefined("items")) } catch let
                    error as TemplateError
                {
                    throw error
                } catch { throw TemplateError(.runtime, "the loop failed") }
            case .counter(let counter):
                guard counter.items == nil else { break }
                defer { counter.place += 1 }
                return counter.place == 0 ? .text("") : .string(counter.separator)
            case .undefined(let name): throw TemplateError(.runtime, "'\(name)' is undefined")
            default: break
            }
            throw TemplateError(.runtime, "'\(callee.typeName)' object is not callable")
        }
    }

    private func call(_ macro: Value.Macro, _ values: CallValues) throws(TemplateError) -> Value {
        let definition = macro.definition
        let scope = Scope(parent: macro.scope)
        try step(definition.parameters.count * (1 + values.named.count) >> 4)
        var rest = values.positional[...]
        var named = values.named
        for (name, standard) in definition.parameters {
            if let value = rest.popFirst() {
                scope.variables[name] = value
            } else if let place = named.firstIndex(where: { $0.0 == name }) {
                scope.variables[name] = named.remove(at: place).1
            } else if let standard {
                scope.variables[name] = try evaluate(standard, scope)
            } else {
                scope.variables[name] = .undefined(name)
            }
        }
        if let place = named.firstIndex(where: { $0.0 == "caller" }) {
            scope.variables["caller"] = named.remove(at: place).1
        } else {
            scope.variables["caller"] = .undefined("caller")
        }
        scope.variables["varargs"] = .tuple(Value.Items(Array(rest)))
        var keywords = Value.Dict()
        for (name, value) in named { keywords.set(.text(name), value) }
        scope.variables["kwargs"] = .dict(keywords)
        return .string(
            try capture { () throws(TemplateError) in _ = try run(definition.body, scope) }
        )
    }
}

/// The values that a call is made with.
struct CallValues {
    var positional: [Value] = []
    var named: [(String, Value)] = []

    /// The value of a parameter by place or name.
    func value(_ place: Int, _ name: String) -> Value? {
        if positional.indices.contains(place) { return positional[place] }
        return named.first { $0.0 == name }?.1
    }
}
