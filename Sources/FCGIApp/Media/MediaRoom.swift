// From what a request names to pixels: where the bytes come from, and what is done with them.

internal import CLinux
internal import Foundation
public import MediaLink
internal import Synchronization

/// Where a request says that its bytes are.
public enum MediaSource: Sendable, Equatable {
    /// `data:`, `http:`, `https:` or `file:`.
    case url(String)
    /// The bytes themselves, in base64.
    case base64(String)

    /// What the caller needs for it; nil for bytes in the request itself.
    public var permission: MediaPermission? {
        guard case .url(let text) = self else { return nil }
        if MediaRoot.matches(text) { return .file }
        let scheme = text.prefix(8).lowercased()
        return scheme.hasPrefix("http:") || scheme.hasPrefix("https:") ? .url : nil
    }
}

/// Bounds of a request's media and the sources that are open.
public struct MediaRoomSettings: Sendable {
    /// Encoded bytes of an image.
    public var imageBytes = 20 << 20
    /// Encoded bytes of a clip.
    public var videoBytes = 100 << 20
    /// Bytes of all media in hand: pixels, and files while they are fetched.
    public var totalPixelBytes = 2 << 30
    /// Media of one request that are worked on at once.
    public var together = 4
    /// Fetches at once of one caller.
    public var fetchesPerCaller = 4
    /// Fetches at once.
    public var fetches = 64
    /// The operator's media; empty = none.
    public var root = ""
    /// Which addresses may be fetched from.
    public var egress = EgressGuard()
    /// Bounds of a fetch.
    public var fetch = FetchLimits()
    /// How media are decoded.
    public var decoder = DecoderSettings()

    /// The defaults that stand beside each field.
    public init() {}
}

/// A medium that a request brings.
public struct MediaOrder: Sendable {
    /// Where its bytes are.
    public var source: MediaSource
    /// What is wanted of them.
    public var wish: MediaJob.Wish

    /// Orders a medium.
    public init(_ source: MediaSource, _ wish: MediaJob.Wish) {
        self.source = source
        self.wish = wish
    }
}

/// Fetches and decodes media; safe from any thread.
public final class MediaRoom: Sendable {
    /// A medium's place in its request, and what is wrong with it.
    public struct Failure: Error, Sendable, Equatable {
        /// Counted from 0.
        public let place: Int
        /// What is wrong.
        public let error: MediaError

        /// Names the medium and its fault.
        public init(place: Int, error: MediaError) {
            self.place = place
            self.error = error
        }
    }

    private let settings: MediaRoomSettings
    private let pool: DecoderPool
    private let fetches: CallerGate
    private let decodes: CallerGate
    private let room: PixelRoom

    /// A room that starts no process before it is needed; `report` gets lines for the operator.
    public init(_ settings: MediaRoomSettings, report: @escaping @Sendable (String) -> Void) {
        self.settings = settings
        pool = DecoderPool(settings.decoder, report: report)
        fetches = CallerGate(most: settings.fetches, perCaller: settings.fetchesPerCaller)
        // One caller's slow media leave decoders to the others.
        let most = max(1, settings.decoder.most)
        decodes = CallerGate(most: most, perCaller: max(1, most * 3 / 4))
        room = PixelRoom(bytes: settings.totalPixelBytes)
    }

    /// Processes that wait for work.
    package var spareCount: Int { pool.spareCount }

    /// Starts the spares ahead of need: a model that takes media is served.
    public func warm() { pool.warm() }

    /// Decodes all media of a request, several at once; blocks.
    ///
    /// `caller` shares the bounds of fetches among its requests.
    /// - Throws: a fault and its place; nothing is kept then, and no further medium is begun.
    public func prepare(_ orders: [MediaOrder], caller: String, permissions: Set<MediaPermission>)
        throws(Failure) -> [PreparedMedia]
    {
        // Rights first: nothing is fetched for a request that will be refused.
        for (place, order) in orders.enumerated() {
            do throws(MediaError) { try check(order.source, permissions) } catch {
                throw Failure(place: place, error: error)
            }
        }
        let results = Concurrently.map(orders, width: settings.together) {
            if case .failure = $0 { true } else { false }
        } _: { [self] order in
            prepare(order, caller)
        }
        var media: [PreparedMedia] = []
        for (place, result) in results.enumerated() {
            guard let result else { continue }
            do throws(MediaError) { media.append(try result.get()) } catch {
                throw Failure(place: place, error: error)
            }
        }
        return media
    }

    private func check(_ source: MediaSource, _ permissions: Set<MediaPermission>)
        throws(MediaError)
    {
        guard case .url(let text) = source else { return }
        if MediaRoot.matches(text) {
            _ = try MediaRoot.name(in: text)
            guard !settings.root.isEmpty else { throw .invalid("files are not served here") }
        } else if source.permission == nil, !DataURL.matches(text) {
            throw .invalid("the URL must begin with data:, http:// or https://")
        }
        if let permission = source.permission, !permissions.contains(permission) {
            throw .forbidden(permission)
        }
    }

    private func prepare(_ order: MediaOrder, _ caller: String) -> Result<PreparedMedia, MediaError>
    {
        do throws(MediaError) {
            let start = tg_monotonic_ns()
            // Until it is decoded a fetched file counts as large as it may become.
            let most = most(order.wish)
            let hold = try room.lease(order.source.permission == .url ? most : 0)
            defer { withExtendedLifetime(hold) {} }
            let bytes = try bytes(of: order, most, caller)
            let fetched = tg_monotonic_ns()
            guard decodes.enter(caller, seconds: settings.decoder.seconds) else { throw .busy }
            defer { decodes.leave(caller) }
            let decoded = try pool.decode(bytes, order.wish)
            let lease = try room.lease(decoded.result.bytes)
            return .success(
                PreparedMedia(
                    decoded: decoded,
                    lease: lease,
                    sourceSeconds: Double(fetched - start) / 1e9,
                    decodeSeconds: Double(tg_monotonic_ns() - fetched) / 1e9
                )
            )
        } catch { return .failure(error) }
    }

    private func most(_ wish: MediaJob.Wish) -> Int {
        switch wish {
        case .image: settings.imageBytes
        case .video: settings.videoBytes
        }
    }

    private func bytes(of order: MediaOrder, _ most: Int, _ caller: String) throws(MediaError)
        -> EncodedBytes
    {
        switch order.source {
        case .base64(let text): return try DataURL.base64(text[...], most: most)
        case .url(let text) where DataURL.matches(text):
            return try DataURL.bytes(of: text, most: most)
        case .url(let text) where MediaRoot.matches(text):
            return try MediaRoot(path: settings.root).open(
                try MediaRoot.name(in: text),
                most: most
            )
        case .url(let text):
            guard fetches.enter(caller, seconds: settings.fetch.totalSeconds) else { throw .busy }
            defer { fetches.leave(caller) }
            return try Fetcher(egress: settings.egress, limits: settings.fetch).fetch(
                text,
                most: most
            )
        }
    }
}

/// A decoded medium with its share of the room for pixels.
public struct PreparedMedia: Sendable {
    /// Geometry and pixels.
    public let decoded: DecodedMedia
    /// The share, given back when the last copy of this value is gone.
    let lease: PixelRoom.Lease
    /// Seconds until the bytes were there.
    public let sourceSeconds: Double
    /// Seconds of waiting for a process and decoding.
    public let decodeSeconds: Double
}
