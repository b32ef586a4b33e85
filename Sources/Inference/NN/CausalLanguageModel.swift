public import Torch

/// A decoder-only language model.
///
/// Used on the engine thread only.
public protocol CausalLanguageModel: AnyObject {
    /// Rows of the head: logits a position.
    var vocabularySize: Int { get }
    /// The most positions that a sequence may have.
    var contextLength: Int { get }
    /// Bytes of sequence state that each position costs.
    var stateBytesPerToken: Int { get }
    /// Bytes of sequence state that each sequence costs, however long it is.
    var stateBytes: Int { get }
    /// Whether a state can be cut back to any earlier position.
    var statesRewind: Bool { get }
    /// An empty state for up to `capacity` positions; memory counts only as it is written.
    func makeState(capacity: Int) -> any SequenceState
    /// Logits `[outputRows, V]` in float32; advances every run's state.
    ///
    /// Failures are sticky: call inside `Torch.checked`.
    func callAsFunction(_ step: Step) -> Tensor
}

extension CausalLanguageModel {
    /// Nothing.
    public var stateBytes: Int { 0 }
    /// True.
    public var statesRewind: Bool { true }
}
