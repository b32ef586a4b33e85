/// Bounds and times of a supervisor.
///
/// Times are seconds.
public struct SupervisorSettings: Sendable, Equatable {
    /// Generations that may wait; one more is refused with `queueFull`.
    public var maxWaiting = 512
    /// Idle time before an unload, where neither request nor model says; 0: never.
    public var idleTimeout = 300
    /// An engine with work that shows no progress for so long is killed.
    public var hangTimeout = 60.0
    /// The same while it loads.
    public var loadStallTimeout = 120.0
    /// Time from the start of the engine's process to its hello.
    public var launchTimeout = 30.0
    /// Time from `unload` to the process's end before it is killed.
    public var exitGrace = 10.0
    /// So long a request for another model lets newer requests for the loaded one pass.
    public var swapPatience = 10.0
    /// So long a model that was loaded stays though only others are waited for.
    public var minResidency = 2.0
    /// Cool-down after the first failed load; doubles with each further one.
    public var coolDown = 2.0
    /// Longest cool-down.
    public var maxCoolDown = 60.0
    /// Engines that may die while loading before that counts as a failed load.
    public var loadAttempts = 3
    /// Interval of pings and of requests for stats while there is work.
    public var pingInterval = 1.0
    /// Whether a new supervisor looks for an engine that an earlier front left behind.
    ///
    /// Where connecting would start an engine, the first request finds it instead.
    public var adoptsOrphans = true
    /// Build of the front, named in its hello.
    public var build = "torchgate"

    /// The defaults.
    public init() {}
}
