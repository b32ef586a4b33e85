/// Runs a template: statements, expressions and calls in one file, since each uses the others.
///
/// Everything it can do is in this folder: no input, no output, no code of anybody's.
///
/// Owned by one thread, which has a stack for `depth` levels (`DeepStack`).
final class Interpreter {
    /// How a block ended.
    enum Flow {
        case normal, leave, next
    }

    let clock: Double
    private var budget: Budget
    private var depth = 0
    /// Where text goes; a block that is captured has its own.
    private var output = TaintedText()

    init(limits: TemplateLimits, clock: Double) {
        budget = Budget(limits)
        self.clock = clock
    }

    func render(_ body: [Statement], _ variables: [String: Value]) throws(TemplateError)
        -> TaintedText
    {
        defer { budget.clear() }
        _ = try run(body, Scope(variables))
        return output
    }

    // MARK: Limits

    var limits: TemplateLimits { budget.limits }

    func step(_ amount: Int = 1) throws(TemplateError) { try budget.step(amount) }

    /// A string of so many characters is about to be made, `added` of them new; all if nil.
    func grow(_ count: Int, added: Int? = nil) throws(TemplateError) {
        guard count <= limits.characters else { throw TemplateError(.limit, "grew too large") }
        try step((added ?? count) >> 6)
    }

    /// A list of so many items is about to be made.
    func growItems(_ count: Int) throws(TemplateError) {
        guard count <= limits.items else { throw TemplateError(.limit, "grew too large") }
        try step(count >> 4)
    }

    /// A value that is not too deep.
    private func bounded(_ value: Value) throws(TemplateError) -> Value {
        guard value.depth <= Shape.deepest else {
            throw TemplateError(.limit, "a value is nested too deeply")
        }
        return value
    }

    /// The value, held until the rendering ends.
    func kept<T: Kept>(_ value: T) throws(TemplateError) -> T {
        try budget.checkKept()
        budget.keep(value)
        return value
    }

    func deeper<T>(_ body: () throws(TemplateError) -> T) throws(TemplateError) -> T {
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.depth else { throw TemplateError(.limit, "nested too deeply") }
        return try body()
    }

    private func emit(_ text: TaintedText) throws(TemplateError) {
        try grow(output.count + text.count, added: text.count)
        output.append(text)
    }

    /// The text that a body writes.
    func capture(_ body: () throws(TemplateError) -> Void) throws(TemplateError)
        -> TaintedText
    {
        let outer = output
        output = TaintedText()
        defer { output = outer }
        try body()
        return output
    }

    // MARK: Statements

    func run(_ body: [Statement], _ scope: Scope) throws(TemplateError) -> Flow {
        for statement in body {
            let flow = try run(statement, scope)
            if flow != .normal { return flow }
        }
        return .normal
    }

    private func located<T>(_ line: Int, _ body: () throws(TemplateError) -> T)
        throws(TemplateError) -> T
    {
        do throws(TemplateError) { return try body() } catch {
            guard error.kind == .runtime, !error.message.contains("(line ") else { throw error }
            throw TemplateError(.runtime, "\(error.message) (line \(line))")
        }
    }

    private func run(_ statement: Statement, _ scope: Scope) throws(TemplateError) -> Flow {
        try step()
        switch statement {
        case .text(let text): try emit(text)
        case .output(let expression, let line):
            try located(line) { () throws(TemplateError) in
                try emit(try printed(try evaluate(expression, scope)))
            }
        case .branch(let branches, let line):
            for (condition, body) in branches {
                if let condition {
                    let holds = try located(line) { () throws(TemplateError) in
                        try evaluate(condition, scope).isTrue
                    }
                    guard holds else { continue }
                }
                return try deeper { () throws(TemplateError) in try run(body, scope) }
            }
        case .loop(let loop):
            try deeper { () throws(TemplateError) in
                let items = try located(loop.line) { () throws(TemplateError) in
                    try iterate(try evaluate(loop.items, scope))
                }
                try run(loop, items, scope, depth: 1)
            }
        case .set(let target, let expression, let line):
            try located(line) { () throws(TemplateError) in
                try assign(target, try evaluate(expression, scope), scope)
            }
        case .setBlock(let target, let body, let filters, let line):
            let text = try block(body, scope)
            try located(line) { () throws(TemplateError) in
                try assign(target, try apply(filters, to: .string(text), scope), scope)
            }
        case .macro(let definition):
            scope.variables[definition.name] = .macro(try kept(Value.Macro(definition, scope)))
        case .call(let definition, let expression, let line):
            try located(line) { () throws(TemplateError) in
                guard case .postfix(let base, let chain) = expression,
                    case .call(let arguments)? = chain.last
                else { return }
                let callee = try apply(
                    Array(chain.dropLast()),
                    to: try evaluate(base, scope),
                    scope
                )
                var values = try evaluate(arguments, scope)
                let caller = try kept(Value.Macro(definition, scope))
                values.named.append(("caller", .macro(caller)))
                try emit(try printed(try call(callee, values)))
            }
        case .filter(let filters, let body, let line):
            let text = try block(body, scope)
            try located(line) { () throws(TemplateError) in
                try emit(try printed(try apply(filters, to: .string(text), scope)))
            }
        case .with(let bindings, let body, let line):
            let inner = Scope(parent: scope)
            try located(line) { () throws(TemplateError) in
                for (target, expression) in bindings {
                    try assign(target, try evaluate(expression, scope), inner)
                }
            }
            return try deeper { () throws(TemplateError) in try run(body, inner) }
        case .leave: return .leave
        case .next: return .next
        }
        return .normal
    }

    private func block(_ body: [Statement], _ scope: Scope) throws(TemplateError) -> TaintedText {
        try deeper { () throws(TemplateError) in
            try capture { () throws(TemplateError) in _ = try run(body, Scope(parent: scope)) }
        }
    }

    private func run(_ loop: Statement.Loop, _ all: [Value], _ scope: Scope, depth: Int)
        throws(TemplateError)
    {
        var items = all
        if let condition = loop.condition {
            items = []
            for item in all {
                let inner = Scope(parent: scope)
                try assign(loop.target, item, inner)
                if try evaluate(condition, inner).isTrue { items.append(item) }
            }
        }
        guard !items.isEmpty else {
            _ = try run(loop.otherwise, Scope(parent: scope))
            return
        }
        let again: ((Value) throws -> Value)? =
            loop.isRecursive
            ? { [self] value in
                let inner = try iterate(value)
                let text = try capture { () throws(TemplateError) in
                    try deeper { () throws(TemplateError) in
                        try run(loop, inner, scope, depth: depth + 1)
                    }
                }
                return .string(text)
            } : nil
        try budget.checkKept()
        var state = Value.LoopState(items: items, depth: depth, again: again)
        // Few loops leave a trace; the others go at once, with their items.
        defer { if !isKnownUniquelyReferenced(&state) { budget.keep(state) } }
        for (place, item) in items.enumerated() {
            try step()
            state.place = place
            let inner = Scope(["loop": .loop(state)], parent: scope)
            try assign(loop.target, item, inner)
            if try run(loop.body, inner) == .leave { break }
        }
    }

    private func assign(_ target: Target, _ value: Value, _ scope: Scope) throws(TemplateError) {
        switch target {
        case .name(let name): scope.variables[name] = value
        case .member(let name, let member):
            guard case .namespace(let space)? = scope.find(name) else {
                throw TemplateError(.runtime, "cannot assign attribute on non-namespace object")
            }
            space.members[member] = value
        case .tuple(let targets):
            let items = try iterate(value)
            guard items.count == targets.count else {
                throw TemplateError(
                    .runtime,
                    "expected \(targets.count) values to unpack, got \(items.count)"
                )
            }
            for (target, item) in zip(targets, items) { try assign(target, item, scope) }
        }
    }

    // MARK: Expressions

    func evaluate(_ expression: Expression, _ scope: Scope) throws(TemplateError) -> Value {
        try step()
        return try deeper { () throws(TemplateError) in
            try bounded(try value(of: expression, scope))
        }
    }

    private func value(of expression: Expression, _ scope: Scope) throws(TemplateError) -> Value {
        switch expression {
        case .literal(let value): return value
        case .name(let name):
            if let value = scope.find(name) { return value }
            return Builtins.functions.contains(name) ? .function(name) : .undefined(name)
        case .list(let items): return .list(Value.Items(try evaluate(items, scope)))
        case .tuple(let items): return .tuple(Value.Items(try evaluate(items, scope)))
        case .dict(let pairs):
            var dict = Value.Dict()
            for (key, item) in pairs {
                let name = try evaluate(key, scope)
                try step(name.weight >> 6)
                guard dict.set(name, try evaluate(item, scope)) else {
                    throw TemplateError(.runtime, "unhashable type: '\(name.typeName)'")
                }
            }
            return .dict(dict)
        case .postfix(let base, let chain):
            return try apply(chain, to: try evaluate(base, scope), scope)
        case .negative(let inner): return try Operators.negate(try evaluate(inner, scope))
        case .positive(let inner):
            let value = try evaluate(inner, scope)
            guard value.number != nil else {
                throw TemplateError(.runtime, "bad operand type for unary +: '\(value.typeName)'")
            }
            return value.whole.map(Value.int) ?? value
        case .not(let inner): return .bool(!(try evaluate(inner, scope).isTrue))
        case .and(let parts):
            var last = Value.none
            for part in parts {
                last = try evaluate(part, scope)
                if !last.isTrue { return last }
            }
            return last
        case .or(let parts):
            var last = Value.none
            for part in parts {
                last = try evaluate(part, scope)
                if last.isTrue { return last }
            }
            return last
        case .compare(let first, let rest):
            var left = try evaluate(first, scope)
            for (sign, part) in rest {
                let right = try evaluate(part, scope)
                guard try Operators.compare(sign, left, right, self) else { return .bool(false) }
                left = right
            }
            return .bool(true)
        case .binary(let first, let rest):
            var left = try evaluate(first, scope)
            for (sign, part) in rest {
                left = try Operators.apply(sign, left, try evaluate(part, scope), self)
            }
            return left
        case .concat(let parts):
            var text = TaintedText()
            for part in parts {
                let more = try printed(try evaluate(part, scope))
                try grow(text.count + more.count, added: more.count)
                text.append(more)
            }
            return .string(text)
        case .conditional(let condition, let then, let otherwise):
            if try evaluate(condition, scope).isTrue { return try evaluate(then, scope) }
            guard let otherwise else {
                return .undefined("the inline if-expression without else")
            }
            return try evaluate(otherwise, scope)
        }
    }

    private func evaluate(_ items: [Expression], _ scope: Scope) throws(TemplateError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(items.count)
        for item in items { values.append(try evaluate(item, scope)) }
        return values
    }

    private func evaluate(_ arguments: Arguments, _ scope: Scope) throws(TemplateError)
        -> CallValues
    {
        var values = CallValues(positional: try evaluate(arguments.positional, scope))
        for (name, item) in arguments.named {
            values.named.append((name, try evaluate(item, scope)))
        }
        if let star = arguments.star { values.positional += try iterate(try evaluate(star, scope)) }
        if let stars = arguments.doubleStar {
            guard case .dict(let dict) = try evaluate(stars, scope) else {
                throw TemplateError(.runtime, "argument after ** must be a mapping")
            }
            try growItems(dict.count)
            for (key, item) in zip(dict.keys, dict.values) {
                values.named.append((try printed(key).string, item))
            }
        }
        return values
    }

    private func apply(_ chain: [Postfix], to base: Value, _ scope: Scope) throws(TemplateError)
        -> Value
    {
        var value = base
        for link in chain {
            try step()
            switch link {
            case .attribute(let name): value = try Members.attribute(name, of: value)
            case .index(let expression):
                let index = try evaluate(expression, scope)
                try step(index.weight >> 6)
                value = try Members.item(index, of: value)
            case .slice(let low, let high, let stride):
                var bounds: [Int?] = []
                for part in [low, high, stride] {
                    guard let part else {
                        bounds.append(nil)
                        continue
                    }
                    let bound = try evaluate(part, scope)
                    if case .none = bound {
                        bounds.append(nil)
                    } else if let whole = bound.whole {
                        bounds.append(whole)
                    } else {
                        throw TemplateError(.runtime, "slice indices must be integers or None")
                    }
                }
                try step(value.length >> 4)
                value = try Members.slice(value, bounds[0], bounds[1], bounds[2])
            case .call(let arguments): value = try call(value, try evaluate(arguments, scope))
            case .filter(let name, let arguments):
                value = try filter(name, value, try evaluate(arguments, scope))
            case .test(let name, let arguments, let negated):
                let holds = try test(name, value, try evaluate(arguments, scope))
                value = .bool(holds != negated)
            }
            value = try bounded(value)
        }
        return value
    }
}
