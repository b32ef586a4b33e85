/// Why a model did not load.
///
/// The cause has a sentence for clients; the detail is for the log.
public struct LoadFailure: Error, Sendable, Equatable {
    /// Class of the failure.
    public var cause: LoadFailureCause
    /// What happened, with names and paths: for the log, never for a client.
    public var detail: String

    /// Creates a failure.
    public init(cause: LoadFailureCause, detail: String) {
        self.cause = cause
        self.detail = detail
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
