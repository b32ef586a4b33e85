// What may follow `is`.
extension Interpreter {
    func test(_ name: String, _ value: Value, _ values: CallValues) throws(TemplateError) -> Bool {
        try step()
        func other() throws(TemplateError) -> Value {
            guard let other = values.positional.first else {
                throw TemplateError(.runtime, "test '\(name)' needs an argument")
            }
            return other
        }
        switch name {
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "none":
            if case .none = value { return true }
            return false
        case "true":
            if case .bool(true) = value { return true }
            return false
        case "false":
            if case .bool(false) = value { return true }
            return false
        case "boolean":
            if case .bool = value { return true }
            return false
        case "string":
            if case .string = value { return true }
            return false
        case "number": return value.number != nil
        case "integer":
            if case .int = value { return true }
            return false
        case "float":
            if case .float = value { return true }
            return false
        case "mapping":
            if case .dict = value { return true }
            return false
        case "sequence":
            switch value {
            case .list, .tuple, .string, .dict, .undefined: return true
            default: return false
            }
        case "iterable":
            switch value {
            case .list, .tuple, .string, .dict, .undefined, .loop: return true
            default: return false
            }
        case "callable":
            switch value {
            case .macro, .function, .method, .loop: return true
            case .counter(let counter): return counter.items == nil
            default: return false
            }
        case "odd", "even", "divisibleby":
            guard let whole = value.whole else {
                throw TemplateError(.runtime, "test '\(name)' needs an integer")
            }
            let divisor = name == "divisibleby" ? try other().whole ?? 0 : 2
            guard divisor != 0 else { throw TemplateError(.runtime, "integer modulo by zero") }
            let rest = divisor == -1 ? 0 : whole % divisor
            return name == "odd" ? rest != 0 : rest == 0
        case "lower", "upper":
            return try Methods.call(
                "is\(name)",
                on: .string(try printed(value)),
                CallValues(),
                self
            )
            .isTrue
        case "eq", "equalto", "==": return try equal(value, try other())
        case "ne", "!=": return !(try equal(value, try other()))
        case "lt", "lessthan", "<": return try Operators.compare("<", value, try other(), self)
        case "le", "<=": return try Operators.compare("<=", value, try other(), self)
        case "gt", "greaterthan", ">": return try Operators.compare(">", value, try other(), self)
        case "ge", ">=": return try Operators.compare(">=", value, try other(), self)
        case "in": return try Operators.contains(try other(), value, self)
        case "sameas":
            let (a, b) = (value, try other())
            guard a.typeName == b.typeName else { return false }
            return try equal(a, b)
        case "escaped": return false
        case "filter", "test": return true
        default: throw TemplateError(.syntax, "No test named '\(name)'.")
        }
    }
}
