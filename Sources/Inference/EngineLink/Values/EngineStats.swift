/// What an engine reports of itself, about once a second and when asked.
public struct EngineStats: Sendable, Equatable {
    /// Sequences that may run at once; the front submits no more than this.
    public var slots: Int
    /// Slots in use.
    public var usedSlots: Int
    /// Tokens that the KV cache may hold.
    public var kvTokens: Int
    /// Tokens that it holds.
    public var usedTokens: Int
    /// Resident bytes of the process.
    public var residentBytes: Int
    /// Bytes of the device's memory that tensors hold; 0 on the CPU.
    public var allocatedBytes: Int
    /// Bytes of the device's memory that the allocator holds, its cache included; 0 on the CPU.
    public var reservedBytes: Int
    /// Steps since the start.
    public var steps: UInt64
    /// Sequences that lost their slot to others and wait inside the engine.
    public var preempted: Int

    /// Creates a report.
    public init(
        slots: Int,
        usedSlots: Int,
        kvTokens: Int,
        usedTokens: Int,
        residentBytes: Int,
        steps: UInt64,
        preempted: Int = 0,
        allocatedBytes: Int = 0,
        reservedBytes: Int = 0
    ) {
        self.slots = slots
        self.usedSlots = usedSlots
        self.kvTokens = kvTokens
        self.usedTokens = usedTokens
        self.residentBytes = residentBytes
        self.steps = steps
        self.preempted = preempted
        self.allocatedBytes = allocatedBytes
        self.reservedBytes = reservedBytes
    }
}
