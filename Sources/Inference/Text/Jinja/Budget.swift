internal import Glibc

/// Bounds of one rendering.
public struct TemplateLimits: Sendable, Equatable {
    /// Units of work: expressions, statements, and 64 characters or 16 items gone through; default
    /// 10 million.
    public var steps = 10_000_000
    /// Nested calls, blocks and expressions; default 1500.
    public var depth = 1500
    /// Characters of the output and of any string; default 4 Mi.
    public var characters = 4 << 20
    /// Items of any list that the template makes; default 1 Mi.
    public var items = 1 << 20
    /// Seconds of processor time; default 1.
    public var seconds = 1.0

    /// The defaults.
    public init() {}
}

/// What one rendering has used of its limits.
///
/// Owned by one thread, whose time it counts.
struct Budget {
    /// Macros, namespaces and the like of one rendering.
    private static let mostKept = 1 << 18

    let limits: TemplateLimits
    private let deadline: Double
    private var steps = 0
    private var kept: [any Kept] = []

    init(_ limits: TemplateLimits) {
        self.limits = limits
        // The last piece of work, which may be one of millions of characters, has the rest.
        deadline = Self.seconds() + limits.seconds * 0.75
    }

    /// The thread's processor time: a busy machine does not shorten it.
    private static func seconds() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }

    mutating func step(_ amount: Int) throws(TemplateError) {
        let before = steps
        let (after, overflow) = steps.addingReportingOverflow(amount)
        guard !overflow, after <= limits.steps else {
            throw TemplateError(.limit, "too many steps")
        }
        steps = after
        if before >> 10 != after >> 10, Self.seconds() > deadline {
            throw TemplateError(.limit, "took too long")
        }
    }

    /// Holds a value until the end, see `Kept`.
    mutating func keep(_ value: any Kept) { kept.append(value) }

    func checkKept() throws(TemplateError) {
        guard kept.count < Self.mostKept else {
            throw TemplateError(.limit, "too many namespaces, macros and loops")
        }
    }

    /// Frees what was held.
    mutating func clear() {
        for value in kept { value.clear() }
        kept = []
    }
}
