/// Reads a template.
///
/// One grammar, whose rules call each other: it is read, and checked against Jinja's, in one piece.
/// Tokens to statements. Recursive descent whose depth is bounded, since a template comes from a
/// model folder and may be anything.
struct Parser {
    /// Nested brackets, blocks and prefixes.
    static let depthLimit = 200

    private let tokens: [Token]
    private var at = 0
    private var depth = 0
    private var loops = 0

    init(_ source: String) throws(TemplateError) {
        var lexer = Lexer(source)
        tokens = try lexer.run()
    }

    mutating func template() throws(TemplateError) -> [Statement] {
        let body = try statements(until: [])
        guard current.kind == .end else { throw fail("unexpected '\(current.text)'") }
        return body
    }

    // MARK: Tokens

    private var current: Token { tokens[at] }

    private func fail(_ message: String) -> TemplateError {
        TemplateError(.syntax, "\(message) (line \(current.line))")
    }

    private mutating func advance() { if at < tokens.count - 1 { at += 1 } }

    private func isSymbol(_ text: String) -> Bool {
        current.kind == .symbol && current.text == text
    }
    private func isName(_ text: String) -> Bool { current.kind == .name && current.text == text }

    private mutating func take(symbol text: String) -> Bool {
        guard isSymbol(text) else { return false }
        advance()
        return true
    }

    private mutating func take(name text: String) -> Bool {
        guard isName(text) else { return false }
        advance()
        return true
    }

    private mutating func expect(symbol text: String) throws(TemplateError) {
        guard take(symbol: text) else { throw fail("expected '\(text)'") }
    }

    private mutating func expect(_ kind: Token.Kind) throws(TemplateError) {
        guard current.kind == kind else { throw fail("expected the end of the tag") }
        advance()
    }

    private mutating func name() throws(TemplateError) -> String {
        guard current.kind == .name else { throw fail("expected a name") }
        defer { advance() }
        return current.text
    }

    private mutating func enter() throws(TemplateError) {
        depth += 1
        guard depth <= Self.depthLimit else { throw TemplateError(.limit, "nested too deeply") }
    }

    // MARK: Statements

    /// Statements up to a tag with one of these names, whose name is the current token then.
    private mutating func statements(until ends: Set<String>) throws(TemplateError) -> [Statement] {
        try enter()
        defer { depth -= 1 }
        var body: [Statement] = []
        while true {
            switch current.kind {
            case .data:
                body.append(.text(TaintedText(current.text)))
                advance()
            case .variableBegin:
                let line = current.line
                advance()
                body.append(.output(try tupleOrExpression(), line: line))
                try expect(.variableEnd)
            case .blockBegin:
                advance()
                guard current.kind == .name else { throw fail("expected a statement") }
                if ends.contains(current.text) { return body }
                if let statement = try statement() { body.append(contentsOf: statement) }
            default:
                guard ends.isEmpty else {
                    throw fail("missing '\(ends.sorted().joined(separator: "' or '"))'")
                }
                return body
            }
        }
    }

    private mutating func endTag() throws(TemplateError) { try expect(.blockEnd) }

    private mutating func statement() throws(TemplateError) -> [Statement]? {
        let line = current.line
        let word = try name()
        switch word {
        case "if": return [try branch(line)]
        case "for": return [.loop(try loop(line))]
        case "set": return [try set(line)]
        case "macro": return [.macro(try macro())]
        case "call": return [try call(line)]
        case "filter": return [try filterBlock(line)]
        case "with": return [try with(line)]
        case "generation":
            try endTag()
            let body = try statements(until: ["endgeneration"])
            advance()
            try endTag()
            return body
        case "break", "continue":
            guard loops > 0 else { throw fail("'\(word)' outside of a loop") }
            try endTag()
            return [word == "break" ? .leave : .next]
        default: throw fail("unknown statement '\(word)'")
        }
    }

    private mutating func branch(_ line: Int) throws(TemplateError) -> Statement {
        var branches: [(Expression?, [Statement])] = []
        var condition: Expression? = try tupleOrExpression()
        while true {
            try endTag()
            let body = try statements(
                until: condition == nil ? ["endif"] : ["elif", "else", "endif"]
            )
            branches.append((condition, body))
            let end = try name()
            if end == "endif" { break }
            condition = end == "elif" ? try tupleOrExpression() : nil
        }
        try endTag()
        return .branch(branches, line: line)
    }

    private mutating func loop(_ line: Int) throws(TemplateError) -> Statement.Loop {
        let target = try target()
        guard take(name: "in") else { throw fail("expected 'in'") }
        let items = try tupleOrExpression(conditional: false)
        let condition: Expression? = take(name: "if") ? try expression() : nil
        let isRecursive = take(name: "recursive")
        try endTag()
        loops += 1
        let body = try statements(until: ["endfor", "else"])
        loops -= 1
        var otherwise: [Statement] = []
        if try name() == "else" {
            try endTag()
            otherwise = try statements(until: ["endfor"])
            advance()
        }
        try endTag()
        return Statement.Loop(
            target: target,
            items: items,
            condition: condition,
            isRecursive: isRecursive,
            body: body,
            otherwise: otherwise,
            line: line
        )
    }

    private mutating func target() throws(TemplateError) -> Target {
        var targets = [try simpleTarget()]
        var isTuple = false
        while take(symbol: ",") {
            isTuple = true
            guard current.kind == .name && !isName("in") || isSymbol("(") else { break }
            targets.append(try simpleTarget())
        }
        return isTuple ? .tuple(targets) : targets[0]
    }

    private mutating func simpleTarget() throws(TemplateError) -> Target {
        if take(symbol: "(") {
            try enter()
            defer { depth -= 1 }
            let inner = try target()
            try expect(symbol: ")")
            return inner
        }
        let first = try name()
        if take(symbol: ".") { return .member(first, try name()) }
        guard !["true", "false", "none", "True", "False", "None"].contains(first) else {
            throw fail("cannot assign to '\(first)'")
        }
        return .name(first)
    }

    private mutating func set(_ line: Int) throws(TemplateError) -> Statement {
        let target = try target()
        if take(symbol: "=") {
            let value = try tupleOrExpression()
            try endTag()
            return .set(target, value, line: line)
        }
        let filters = try filterChain(first: true)
        try endTag()
        let body = try statements(until: ["endset"])
        advance()
        try endTag()
        return .setBlock(target, body, filters: filters, line: line)
    }

    /// `|a|b(1)`; `first` where a bar must precede the first filter.
    private mutating func filterChain(first needsBar: Bool) throws(TemplateError) -> [Postfix] {
        var filters: [Postfix] = []
        var needsBar = needsBar
        while !needsBar || take(symbol: "|") {
            needsBar = true
            let name = try dottedName()
            filters.append(.filter(name, isSymbol("(") ? try arguments() : Arguments()))
        }
        return filters
    }

    private mutating func dottedName() throws(TemplateError) -> String {
        var text = try name()
        while isSymbol("."), at + 1 < tokens.count, tokens[at + 1].kind == .name {
            advance()
            text += "." + (try name())
        }
        return text
    }

    private mutating func parameters() throws(TemplateError) -> [(
        name: String, standard: Expression?
    )] {
        var parameters: [(name: String, standard: Expression?)] = []
        try expect(symbol: "(")
        while !isSymbol(")") {
            if !parameters.isEmpty {
                try expect(symbol: ",")
                if isSymbol(")") { break }
            }
            let parameter = try name()
            parameters.append((parameter, take(symbol: "=") ? try expression() : nil))
        }
        try expect(symbol: ")")
        return parameters
    }

    private mutating func macro() throws(TemplateError) -> MacroDefinition {
        let title = try name()
        let parameters = try parameters()
        try endTag()
        let outer = loops
        loops = 0
        let body = try statements(until: ["endmacro"])
        loops = outer
        advance()
        try endTag()
        return MacroDefinition(name: title, parameters: parameters, body: body)
    }

    private mutating func call(_ line: Int) throws(TemplateError) -> Statement {
        let parameters = isSymbol("(") ? try parameters() : []
        let callee = try expression()
        guard case .postfix(_, let chain) = callee, case .call? = chain.last else {
            throw fail("'call' needs a call")
        }
        try endTag()
        let outer = loops
        loops = 0
        let body = try statements(until: ["endcall"])
        loops = outer
        advance()
        try endTag()
        return .call(
            MacroDefinition(name: "caller", parameters: parameters, body: body),
            callee,
            line: line
        )
    }

    private mutating func filterBlock(_ line: Int) throws(TemplateError) -> Statement {
        let filters = try filterChain(first: false)
        try endTag()
        let body = try statements(until: ["endfilter"])
        advance()
        try endTag()
        return .filter(filters, body, line: line)
    }

    private mutating func with(_ line: Int) throws(TemplateError) -> Statement {
        var bindings: [(Target, Expression)] = []
        while current.kind != .blockEnd {
            if !bindings.isEmpty { try expect(symbol: ",") }
            let target = try simpleTarget()
            try expect(symbol: "=")
            bindings.append((target, try expression()))
        }
        try endTag()
        let body = try statements(until: ["endwith"])
        advance()
        try endTag()
        return .with(bindings, body, line: line)
    }

    // MARK: Expressions, loosest first

    private mutating func tupleOrExpression(conditional: Bool = true) throws(TemplateError)
        -> Expression
    {
        let first = conditional ? try expression() : try disjunction()
        guard isSymbol(",") else { return first }
        var items = [first]
        while take(symbol: ",") {
            if [.blockEnd, .variableEnd].contains(current.kind) || isSymbol(")") || isSymbol("=") {
                break
            }
            items.append(conditional ? try expression() : try disjunction())
        }
        return .tuple(items)
    }

    private mutating func expression() throws(TemplateError) -> Expression {
        try enter()
        defer { depth -= 1 }
        let value = try disjunction()
        guard take(name: "if") else { return value }
        let condition = try disjunction()
        let otherwise: Expression? = take(name: "else") ? try expression() : nil
        return .conditional(condition, then: value, otherwise: otherwise)
    }

    private mutating func disjunction() throws(TemplateError) -> Expression {
        var parts = [try conjunction()]
        while take(name: "or") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction() throws(TemplateError) -> Expression {
        var parts = [try negation()]
        while take(name: "and") { parts.append(try negation()) }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func negation() throws(TemplateError) -> Expression {
        guard take(name: "not") else { return try comparison() }
        try enter()
        defer { depth -= 1 }
        return .not(try negation())
    }

    private mutating func comparison() throws(TemplateError) -> Expression {
        let first = try sum()
        var rest: [(String, Expression)] = []
        while true {
            if current.kind == .symbol, ["==", "!=", "<", "<=", ">", ">="].contains(current.text) {
                let sign = current.text
                advance()
                rest.append((sign, try sum()))
            } else if take(name: "in") {
                rest.append(("in", try sum()))
            } else if isName("not"), at + 1 < tokens.count, tokens[at + 1].kind == .name,
                tokens[at + 1].text == "in"
            {
                advance()
                advance()
                rest.append(("not in", try sum()))
            } else {
                return rest.isEmpty ? first : .compare(first, rest)
            }
        }
    }

    private mutating func sum() throws(TemplateError) -> Expression {
        let first = try concatenation()
        var rest: [(String, Expression)] = []
        while isSymbol("+") || isSymbol("-") {
            let sign = current.text
            advance()
            rest.append((sign, try concatenation()))
        }
        return rest.isEmpty ? first : .binary(first, rest)
    }

    private mutating func concatenation() throws(TemplateError) -> Expression {
        var parts = [try product()]
        while take(symbol: "~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concat(parts)
    }

    private mutating func product() throws(TemplateError) -> Expression {
        let first = try power()
        var rest: [(String, Expression)] = []
        while current.kind == .symbol, ["*", "/", "//", "%"].contains(current.text) {
            let sign = current.text
            advance()
            rest.append((sign, try power()))
        }
        return rest.isEmpty ? first : .binary(first, rest)
    }

    private mutating func power() throws(TemplateError) -> Expression {
        let first = try unary(withFilters: true)
        var rest: [(String, Expression)] = []
        while take(symbol: "**") { rest.append(("**", try unary(withFilters: true))) }
        return rest.isEmpty ? first : .binary(first, rest)
    }

    private mutating func unary(withFilters: Bool) throws(TemplateError) -> Expression {
        try enter()
        defer { depth -= 1 }
        let value: Expression
        if take(symbol: "-") {
            value = .negative(try unary(withFilters: false))
        } else if take(symbol: "+") {
            value = .positive(try unary(withFilters: false))
        } else {
            return try follow(try primary(), withFilters: withFilters)
        }
        return try follow(value, withFilters: withFilters, onlyFilters: true)
    }

    private mutating func primary() throws(TemplateError) -> Expression {
        let token = current
        advance()
        switch token.kind {
        case .name:
            switch token.text {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.none)
            default: return .name(token.text)
            }
        case .string:
            var text = token.text
            while current.kind == .string {
                text += current.text
                advance()
            }
            return .literal(.text(text))
        case .integer:
            guard let value = Int(token.text) else {
                return .literal(.float(Double(token.text) ?? 0))
            }
            return .literal(.int(value))
        case .float: return .literal(.float(Double(token.text) ?? 0))
        case .symbol:
            switch token.text {
            case "(": return try parenthesis()
            case "[": return .list(try items(until: "]"))
            case "{": return try dictionary()
            default: break
            }
        default: break
        }
        throw fail("unexpected '\(token.text)'")
    }

    private mutating func parenthesis() throws(TemplateError) -> Expression {
        if take(symbol: ")") { return .tuple([]) }
        let inner = try tupleOrExpression()
        try expect(symbol: ")")
        return inner
    }

    private mutating func items(until end: String) throws(TemplateError) -> [Expression] {
        var items: [Expression] = []
        while !isSymbol(end) {
            if !items.isEmpty {
                try expect(symbol: ",")
                if isSymbol(end) { break }
            }
            items.append(try expression())
        }
        try expect(symbol: end)
        return items
    }

    private mutating func dictionary() throws(TemplateError) -> Expression {
        var items: [(Expression, Expression)] = []
        while !isSymbol("}") {
            if !items.isEmpty {
                try expect(symbol: ",")
                if isSymbol("}") { break }
            }
            let key = try expression()
            try expect(symbol: ":")
            items.append((key, try expression()))
        }
        try expect(symbol: "}")
        return .dict(items)
    }

    private mutating func follow(_ value: Expression, withFilters: Bool, onlyFilters: Bool = false)
        throws(TemplateError) -> Expression
    {
        var chain: [Postfix] = []
        while true {
            if !onlyFilters, take(symbol: ".") {
                if current.kind == .integer {
                    chain.append(.index(.literal(.int(Int(current.text) ?? 0))))
                    advance()
                } else {
                    chain.append(.attribute(try name()))
                }
            } else if !onlyFilters, take(symbol: "[") {
                chain.append(try subscription())
            } else if isSymbol("("), !onlyFilters || !chain.isEmpty {
                chain.append(.call(try arguments()))
            } else if withFilters, take(symbol: "|") {
                let name = try dottedName()
                chain.append(.filter(name, isSymbol("(") ? try arguments() : Arguments()))
            } else if withFilters, take(name: "is") {
                chain.append(try test())
            } else {
                return chain.isEmpty ? value : .postfix(value, chain)
            }
        }
    }

    private mutating func subscription() throws(TemplateError) -> Postfix {
        func isEnd() -> Bool { isSymbol(":") || isSymbol("]") }
        let first: Expression? = isEnd() ? nil : try tupleOrExpression()
        guard take(symbol: ":") else {
            try expect(symbol: "]")
            guard let first else { throw fail("expected an index") }
            return .index(first)
        }
        let second: Expression? = isEnd() ? nil : try expression()
        var third: Expression?
        if take(symbol: ":"), !isEnd() { third = try expression() }
        try expect(symbol: "]")
        return .slice(first, second, third)
    }

    private mutating func arguments() throws(TemplateError) -> Arguments {
        try expect(symbol: "(")
        var arguments = Arguments()
        var isFirst = true
        while !isSymbol(")") {
            if !isFirst {
                try expect(symbol: ",")
                if isSymbol(")") { break }
            }
            isFirst = false
            if take(symbol: "**") {
                arguments.doubleStar = try expression()
            } else if take(symbol: "*") {
                arguments.star = try expression()
            } else if current.kind == .name, at + 1 < tokens.count, tokens[at + 1].kind == .symbol,
                tokens[at + 1].text == "="
            {
                let label = try name()
                advance()
                arguments.named.append((label, try expression()))
            } else {
                arguments.positional.append(try expression())
            }
        }
        try expect(symbol: ")")
        return arguments
    }

    /// After `is`: a name, perhaps negated, perhaps with arguments in brackets or one bare argument.
    private mutating func test() throws(TemplateError) -> Postfix {
        let negated = take(name: "not")
        let title = try dottedName()
        if isSymbol("(") { return .test(title, try arguments(), negated: negated) }
        var arguments = Arguments()
        let starts: Set<Token.Kind> = [.name, .string, .integer, .float]
        let isValue =
            starts.contains(current.kind)
            && !(current.kind == .name
                && ["else", "or", "and", "is", "if", "in", "not"].contains(current.text))
            || isSymbol("[") || isSymbol("{")
        if isValue {
            arguments.positional = [try follow(try primary(), withFilters: false)]
        }
        return .test(title, arguments, negated: negated)
    }
}
