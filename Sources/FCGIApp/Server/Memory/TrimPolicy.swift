/// When engines are told to give cached memory back: values in, a decision out.
package struct TrimPolicy {
    /// Part of the device's memory, 0…1, above which that happens; 1 = never.
    package let threshold: Double
    /// Seconds between two of them while the memory stays above it.
    package static let interval = 30.0
    /// Least part of the device that another one must promise: what is in use cannot be given back.
    package static let gain = 0.01

    /// It has happened since the memory was last below the threshold.
    private var isAbove = false
    private var last = 0.0

    /// Nothing has happened yet.
    package init(threshold: Double) { self.threshold = threshold }

    /// Whether it is time, at so many seconds of any clock.
    package mutating func isDue(_ memory: DeviceMemory, now: Double) -> Bool {
        guard let usage = memory.usage, let total = memory.total, usage > threshold else {
            isAbove = false
            return false
        }
        let promised = Double(memory.reserved - memory.allocated) / Double(total)
        guard !isAbove || (promised >= Self.gain && now - last >= Self.interval) else {
            return false
        }
        isAbove = true
        last = now
        return true
    }
}
