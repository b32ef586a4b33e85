internal import Synchronization

/// Bytes of bodies that all exchanges together hold.
final class BodyBudget: Sendable {
    private let limit: Int
    private let held = Atomic(0)

    init(limit: Int) { self.limit = limit }

    /// Takes so many bytes; false where that would be more than the limit.
    func take(_ count: Int) -> Bool {
        let sum = held.wrappingAdd(count, ordering: .relaxed).newValue
        if sum <= limit { return true }
        give(count)
        return false
    }

    func give(_ count: Int) { held.wrappingSubtract(count, ordering: .relaxed) }
}
