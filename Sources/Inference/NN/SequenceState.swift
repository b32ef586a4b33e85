/// What a model remembers of one sequence: a KV slot, or a recurrent state of fixed size.
///
/// Owned by the engine thread. A model's forward pass appends `count` positions and advances `length`.
public protocol SequenceState: AnyObject {
    /// Positions held.
    var length: Int { get }
    /// The most positions that it can hold.
    var capacity: Int { get }
    /// Forgets every position from `length` on; longer than now changes nothing.
    func truncate(to length: Int)
    /// Becomes a copy of the first `count` positions of a state of the same model.
    ///
    /// Fewer are copied where `other` holds fewer or this state is smaller.
    func copy(from other: any SequenceState, count: Int)
    /// Forgets everything and gives the memory back to the system; the state stays usable.
    func release()
}
