internal import Glibc

/// Arithmetic and comparison with Python's meaning.
enum Operators {
    static func negate(_ value: Value) throws(TemplateError) -> Value {
        if let whole = value.whole {
            let (result, overflow) = 0.subtractingReportingOverflow(whole)
            guard !overflow else { throw TemplateError(.limit, "number too large") }
            return .int(result)
        }
        guard let number = value.number else {
            throw TemplateError(.runtime, "bad operand type for unary -: '\(value.typeName)'")
        }
        return .float(-number)
    }

    static func apply(_ sign: String, _ a: Value, _ b: Value, _ interpreter: Interpreter)
        throws(TemplateError) -> Value
    {
        for value in [a, b] {
            if case .undefined(let name) = value {
                throw TemplateError(.runtime, "'\(name)' is undefined")
            }
        }
        switch (sign, a, b) {
        case ("+", .string(let x), .string(let y)):
            try interpreter.grow(x.count + y.count)
            var text = x
            text.append(y)
            return .string(text)
        case ("+", .list(let x), .list(let y)):
            try interpreter.growItems(x.count + y.count)
            var all = x
            all.append(y)
            return .list(all)
        case ("+", .tuple(let x), .tuple(let y)):
            try interpreter.growItems(x.count + y.count)
            var all = x
            all.append(y)
            return .tuple(all)
        case ("*", .string, _), ("*", .list, _), ("*", .tuple, _):
            guard let times = b.whole else { break }
            return try repeated(a, times, interpreter)
        case ("*", _, .string), ("*", _, .list), ("*", _, .tuple):
            guard let times = a.whole else { break }
            return try repeated(b, times, interpreter)
        case ("%", .string(let text), _):
            return .string(try Formatting.percent(text, b, interpreter))
        default: break
        }
        if let x = a.whole, let y = b.whole { return try whole(sign, x, y) }
        guard let x = a.number, let y = b.number else {
            throw TemplateError(
                .runtime,
                "unsupported operand type(s) for \(sign): '\(a.typeName)' and '\(b.typeName)'"
            )
        }
        return .float(try real(sign, x, y))
    }

    private static func repeated(_ value: Value, _ times: Int, _ interpreter: Interpreter)
        throws(TemplateError) -> Value
    {
        let times = max(0, times)
        let (total, overflow) = value.length.multipliedReportingOverflow(by: times)
        guard !overflow else { throw TemplateError(.limit, "grew too large") }
        func items(_ items: Value.Items) throws(TemplateError) -> Value.Items {
            try interpreter.growItems(total)
            var result: Value.Items = []
            for _ in 0..<(items.isEmpty ? 0 : times) { result.append(items) }
            return result
        }
        switch value {
        case .string(let text):
            try interpreter.grow(total)
            return .string(text.repeated(times))
        case .list(let list): return .list(try items(list))
        case .tuple(let tuple): return .tuple(try items(tuple))
        default: return value
        }
    }

    private static func whole(_ sign: String, _ x: Int, _ y: Int) throws(TemplateError) -> Value {
        let result: (partialValue: Int, overflow: Bool)
        switch sign {
        case "+": result = x.addingReportingOverflow(y)
        case "-": result = x.subtractingReportingOverflow(y)
        case "*": result = x.multipliedReportingOverflow(by: y)
        case "//", "%":
            guard y != 0 else {
                throw TemplateError(.runtime, "integer division or modulo by zero")
            }
            guard !(x == .min && y == -1) else { throw TemplateError(.limit, "number too large") }
            let (quotient, remainder) = x.quotientAndRemainder(dividingBy: y)
            let adjusts = remainder != 0 && (remainder < 0) != (y < 0)
            return .int(
                sign == "%"
                    ? (adjusts ? remainder + y : remainder) : (adjusts ? quotient - 1 : quotient)
            )
        case "**":
            guard y >= 0 else { return .float(pow(Double(x), Double(y))) }
            var value = 1
            for _ in 0..<min(y, 64) {
                let (product, overflow) = value.multipliedReportingOverflow(by: x)
                guard !overflow else { throw TemplateError(.limit, "number too large") }
                value = product
            }
            guard y <= 64 || abs(x) < 2 else { throw TemplateError(.limit, "number too large") }
            if y > 64, x == -1 { value = y % 2 == 0 ? 1 : -1 }
            return .int(value)
        default: return .float(try real(sign, Double(x), Double(y)))
        }
        guard !result.overflow else { throw TemplateError(.limit, "number too large") }
        return .int(result.partialValue)
    }

    private static func real(_ sign: String, _ x: Double, _ y: Double) throws(TemplateError)
        -> Double
    {
        switch sign {
        case "+": return x + y
        case "-": return x - y
        case "*": return x * y
        case "**": return pow(x, y)
        default: break
        }
        guard y != 0 else { throw TemplateError(.runtime, "division by zero") }
        switch sign {
        case "/": return x / y
        case "//": return (x / y).rounded(.down)
        default:
            let remainder = fmod(x, y)
            return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder
        }
    }

    static func compare(_ sign: String, _ a: Value, _ b: Value, _ interpreter: Interpreter)
        throws(TemplateError) -> Bool
    {
        switch sign {
        case "==": return try interpreter.equal(a, b)
        case "!=": return !(try interpreter.equal(a, b))
        case "in": return try contains(b, a, interpreter)
        case "not in": return !(try contains(b, a, interpreter))
        case "<": return try isLess(a, b, interpreter)
        case ">": return try isLess(b, a, interpreter)
        case "<=": return try !isLess(b, a, interpreter)
        default: return try !isLess(a, b, interpreter)
        }
    }

    /// What it may cost to look for an item in a list.
    static func searchCost(_ items: Value.Items, _ item: Value) -> Int {
        let (each, overflow) = items.count.multipliedReportingOverflow(by: item.weight)
        return items.count >> 4 + min(overflow ? .max : each, items.shape.weight) >> 6
    }

    static func contains(_ container: Value, _ item: Value, _ interpreter: Interpreter)
        throws(TemplateError) -> Bool
    {
        switch container {
        case .undefined: return false
        case .string(let text):
            guard case .string(let part) = item else {
                throw TemplateError(
                    .runtime,
                    "'in <string>' requires string as left operand, not \(item.typeName)"
                )
            }
            try interpreter.step((text.count + part.count) >> 6)
            return text.contains(part)
        case .list(let items), .tuple(let items):
            try interpreter.step(searchCost(items, item))
            return items.values.contains { Value.equal($0, item) }
        case .dict(let dict):
            try interpreter.step(item.weight >> 6)
            guard item.key != nil else {
                throw TemplateError(.runtime, "unhashable type: '\(item.typeName)'")
            }
            return dict[item] != nil
        default:
            throw TemplateError(
                .runtime,
                "argument of type '\(container.typeName)' is not iterable"
            )
        }
    }

    /// Python's `<`.
    static func isLess(_ a: Value, _ b: Value, _ interpreter: Interpreter)
        throws(TemplateError) -> Bool
    {
        try interpreter.step(min(a.weight, b.weight) >> 6)
        switch (a, b) {
        case (.string(let x), .string(let y)):
            return x.scalars.lexicographicallyPrecedes(y.scalars)
        case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)):
            for (left, right) in zip(x.values, y.values) where !Value.equal(left, right) {
                return try isLess(left, right, interpreter)
            }
            return x.count < y.count
        default:
            if let x = a.whole, let y = b.whole { return x < y }
            guard let x = a.number, let y = b.number else {
                if case .undefined(let name) = a {
                    throw TemplateError(.runtime, "'\(name)' is undefined")
                }
                if case .undefined(let name) = b {
                    throw TemplateError(.runtime, "'\(name)' is undefined")
                }
                throw TemplateError(
                    .runtime,
                    "'<' not supported between instances of '\(a.typeName)' and '\(b.typeName)'"
                )
            }
            return x < y
        }
    }
}

extension Interpreter {
    /// Whether two values are equal; costs what the comparison may.
    func equal(_ a: Value, _ b: Value) throws(TemplateError) -> Bool {
        try step(min(a.weight, b.weight) >> 6)
        return Value.equal(a, b)
    }
}
