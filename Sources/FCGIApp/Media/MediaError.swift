public import MediaLink

/// Why a medium of a request cannot be used.
public enum MediaError: Error, Sendable, Equatable {
    /// The medium is at fault: a sentence for the client.
    case refused(MediaFailure)
    /// The caller may not name such a source.
    case forbidden(MediaPermission)
    /// The server has no room now.
    case busy

    /// Damaged, not media, or a source that cannot be read.
    package static func invalid(_ message: String) -> MediaError {
        .refused(MediaFailure(.invalid, message))
    }

    /// Beyond a limit.
    package static func tooLarge(_ message: String) -> MediaError {
        .refused(MediaFailure(.tooLarge, message))
    }
}

/// What a caller needs for sources outside the request itself.
public enum MediaPermission: String, Sendable, Hashable {
    /// http and https URLs.
    case url = "media:url"
    /// Files below the media root.
    case file = "media:file"
}
