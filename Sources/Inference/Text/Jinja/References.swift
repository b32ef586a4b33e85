/// A value that others refer to, and that can come to refer to itself.
///
/// The interpreter holds every one until the rendering ends, and then clears them one by one. Chains
/// and circles of them, of whatever length, are so freed without recursion, and none is left over.
protocol Kept: AnyObject {
    /// Lets go of everything.
    func clear()
}

extension Value {
    /// `namespace(…)`: the one thing that a template can change.
    final class Namespace: Kept {
        var members: [String: Value]
        init(_ members: [String: Value]) { self.members = members }
        func clear() { members = [:] }
    }

    /// `cycler` and `joiner`.
    final class Counter: Kept {
        /// What a cycler goes through; nil for a joiner.
        private(set) var items: [Value]?
        /// What a joiner says from its second call on.
        let separator: TaintedText
        var place = 0

        init(items: [Value]?, separator: TaintedText = TaintedText()) {
            self.items = items
            self.separator = separator
        }

        func clear() { items = nil }
    }

    /// A macro with the scope that it was made in.
    final class Macro: Kept {
        let definition: MacroDefinition
        /// Nil once the rendering has ended.
        private(set) var scope: Scope?

        init(_ definition: MacroDefinition, _ scope: Scope) {
            self.definition = definition
            self.scope = scope
        }

        func clear() { scope = nil }
    }

    /// What `loop` tells.
    final class LoopState: Kept {
        private(set) var items: [Value]
        var place = 0
        let depth: Int
        var lastChanged: Items?
        /// For `recursive` loops: the statement, to be run again on other items.
        private(set) var again: ((Value) throws -> Value)?

        init(items: [Value], depth: Int, again: ((Value) throws -> Value)?) {
            self.items = items
            self.depth = depth
            self.again = again
        }

        func clear() {
            items = []
            lastChanged = nil
            again = nil
        }
    }
}

/// Variables of a block; a name is looked up outwards.
final class Scope {
    var variables: [String: Value]
    let parent: Scope?

    init(_ variables: [String: Value] = [:], parent: Scope? = nil) {
        self.variables = variables
        self.parent = parent
    }

    func find(_ name: String) -> Value? {
        var scope: Scope? = self
        while let here = scope {
            if let value = here.variables[name] { return value }
            scope = here.parent
        }
        return nil
    }
}
