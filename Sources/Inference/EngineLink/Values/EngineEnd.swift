/// How an engine with a model ended, and what it held before.
public struct EngineEnd: Sendable, Equatable {
    /// Why it ended.
    public enum Cause: String, Sendable, Equatable {
        /// Nobody asked for its model for a while.
        case idle
        /// It was told to: by an operator, or because the server stops.
        case manual
        /// It made room for another model.
        case swap
        /// It died, or was killed as hung.
        case crash
    }

    /// The model.
    public var model: LoadedModel
    /// Why it ended.
    public var cause: Cause
    /// Resident bytes of its process before its end, as the kernel told; where it did not, as reported.
    public var residentBytes: Int
    /// Bytes of the device's memory that its allocator held when it last reported; 0 on the CPU.
    public var reservedBytes: Int

    /// Describes an end.
    public init(model: LoadedModel, cause: Cause, residentBytes: Int, reservedBytes: Int) {
        self.model = model
        self.cause = cause
        self.residentBytes = residentBytes
        self.reservedBytes = reservedBytes
    }
}
