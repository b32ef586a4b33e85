/// An expression.
///
/// Chains of operators and of dots are lists, so that the depth of a tree is the depth of its
/// brackets, which the parser bounds.
indirect enum Expression {
    case literal(Value)
    case name(String)
    case list([Expression])
    case tuple([Expression])
    case dict([(Expression, Expression)])
    case postfix(Expression, [Postfix])
    case negative(Expression)
    case positive(Expression)
    case not(Expression)
    case and([Expression])
    case or([Expression])
    case compare(Expression, [(String, Expression)])
    case binary(Expression, [(String, Expression)])
    case concat([Expression])
    case conditional(Expression, then: Expression, otherwise: Expression?)
}

/// What follows a value: `.name`, `[index]`, `(arguments)`, `|filter`, `is test`.
enum Postfix {
    case attribute(String)
    case index(Expression)
    case slice(Expression?, Expression?, Expression?)
    case call(Arguments)
    case filter(String, Arguments)
    case test(String, Arguments, negated: Bool)
}

/// Arguments of a call.
struct Arguments {
    var positional: [Expression] = []
    var named: [(String, Expression)] = []
    var star: Expression?
    var doubleStar: Expression?
}

/// What a value is assigned to.
indirect enum Target {
    case name(String)
    /// `namespace.member`
    case member(String, String)
    case tuple([Target])
}

/// A macro or a call block's body.
final class MacroDefinition {
    let name: String
    let parameters: [(name: String, standard: Expression?)]
    let body: [Statement]

    init(name: String, parameters: [(name: String, standard: Expression?)], body: [Statement]) {
        self.name = name
        self.parameters = parameters
        self.body = body
    }
}

/// A statement of a template.
indirect enum Statement {
    case text(TaintedText)
    case output(Expression, line: Int)
    case branch([(Expression?, [Statement])], line: Int)
    case loop(Loop)
    case set(Target, Expression, line: Int)
    case setBlock(Target, [Statement], filters: [Postfix], line: Int)
    case macro(MacroDefinition)
    case call(MacroDefinition, Expression, line: Int)
    case filter([Postfix], [Statement], line: Int)
    case with([(Target, Expression)], [Statement], line: Int)
    case leave
    case next

    /// A `for` loop.
    final class Loop {
        let target: Target
        let items: Expression
        let condition: Expression?
        let isRecursive: Bool
        let body: [Statement]
        let otherwise: [Statement]
        let line: Int

        init(
            target: Target,
            items: Expression,
            condition: Expression?,
            isRecursive: Bool,
            body: [Statement],
            otherwise: [Statement],
            line: Int
        ) {
            self.target = target
            self.items = items
            self.condition = condition
            self.isRecursive = isRecursive
            self.body = body
            self.otherwise = otherwise
            self.line = line
        }
    }
}
