/// Why a model did not load.
///
/// The cause has a sentence for clients; the detail is for the log.
public struct LoadFailure: Error, Sendable, Equatable {
    /// Class of the failure.
    public var cause: LoadFailureCause
    /// What happened, with names and paths: for the log, never for a client.
    public var detail: String
    /// Memory that the model needs and that there is, where that is the cause and known.
    public var shortage: Shortage?

    /// Two amounts of memory.
    public struct Shortage: Sendable, Equatable {
        /// Bytes that the model needs at least.
        public var neededBytes: Int
        /// Bytes that could be had.
        public var availableBytes: Int

        /// A shortage of the two.
        public init(neededBytes: Int, availableBytes: Int) {
            self.neededBytes = neededBytes
            self.availableBytes = availableBytes
        }
    }

    /// Creates a failure.
    public init(cause: LoadFailureCause, detail: String, shortage: Shortage? = nil) {
        self.cause = cause
        self.detail = detail
        self.shortage = shortage
    }

    /// A sentence for clients: that of the cause, with the amounts where they are known.
    public var sentence: String {
        guard let shortage else { return cause.sentence }
        func gib(_ bytes: Int) -> String { "\((Double(bytes) / 107_374_182.4).rounded() / 10) GiB" }
        return "\(cause.sentence.dropLast()): it needs \(gib(shortage.neededBytes)), "
            + "\(gib(shortage.availableBytes)) are available."
    }
}

/// Classes of load failures; the raw value is a catalogue code.
public enum LoadFailureCause: String, Sendable, Equatable, CaseIterable {
    /// No file, or no right to read it.
    case notFound = "model_not_found"
    /// The files contradict themselves or are cut short.
    case corrupt = "model_corrupt"
    /// An architecture, quantisation or setting that this build does not have.
    case unsupported = "model_unsupported"
    /// Too little memory on the device or the host.
    case outOfMemory = "out_of_memory"
    /// The device is missing or refuses.
    case device = "device_unavailable"
    /// The engine cannot be started or speaks another protocol version.
    case launch = "engine_unavailable"
    /// The engine ended, or stood still, while loading.
    case crashed = "engine_crashed"
    /// Anything else.
    case other = "load_failed"

    /// A sentence for clients: no path, no address, no input.
    public var sentence: String {
        switch self {
        case .notFound: "The model's files are missing or cannot be read."
        case .corrupt: "The model's files are damaged."
        case .unsupported: "The model's architecture, format or settings are not supported."
        case .outOfMemory: "There is not enough memory to load the model."
        case .device: "The device for the model is not available."
        case .launch: "The inference engine could not be started."
        case .crashed: "The inference engine ended while it loaded the model."
        case .other: "The model could not be loaded."
        }
    }
}
