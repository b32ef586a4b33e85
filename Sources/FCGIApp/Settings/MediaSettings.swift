/// Images and clips of requests: where they may come from and what they may cost.
public struct MediaSettings: Sendable, Equatable {
    /// The decoder's executable; empty = `torchgate-media` beside the server's.
    public var executable = ""
    /// Images and clips of one request.
    public var perRequest = 16
    /// Encoded bytes of an image.
    public var imageBytes = 20 << 20
    /// Encoded bytes of a clip.
    public var videoBytes = 100 << 20
    /// Pixels of an image or a frame.
    public var pixels = 40_000_000
    /// Pixels of the longer side.
    public var side = 8192
    /// Seconds of a clip.
    public var videoSeconds = 600
    /// Frames of a clip that a model sees where the request says nothing.
    public var videoFrames = 16
    /// Frames of a clip that a request may ask for.
    public var maxFrames = 768
    /// Bytes that one medium may have as pixels.
    public var pixelBytes = 256 << 20
    /// Bytes of all pixels in hand.
    public var pixelBytesTotal = 2 << 30
    /// Seconds of decoding one medium, by the clock.
    public var decodeTimeout = 10.0
    /// Seconds of decoding one medium, of a processor.
    public var cpuSeconds = 5
    /// Bytes of memory of a decoder.
    public var memoryBytes = 1 << 30
    /// Decoders that wait for work.
    public var spares = 2
    /// Decoders at once.
    public var processes = 8
    /// Threads of one decoder.
    public var threads = 4
    /// Whether EXIF orientation is followed.
    public var orient = false
    /// Folder of media that keys with `media:file` may name; empty = none.
    public var root = ""
    /// Fetching by URL.
    public var fetch = FetchSettings()

    /// All defaults.
    public init() {}
}

/// Fetching media by URL, for keys with `media:url`.
public struct FetchSettings: Sendable, Equatable {
    /// Networks that are allowed besides public addresses, on any port.
    public var networks: [String] = []
    /// Hosts that alone are allowed; empty = all.
    public var hosts: [String] = []
    /// Whether plain http is allowed.
    public var http = true
    /// Seconds to resolve and connect.
    public var connectTimeout = 3.0
    /// Seconds of a fetch, redirects included.
    public var timeout = 15.0
    /// Redirects of a fetch.
    public var redirects = 3
    /// Fetches at once.
    public var total = 64
    /// Fetches of one key at once.
    public var perKey = 4

    /// All defaults.
    public init() {}
}

extension SettingsTable {
    static let media: [SettingsField] = decoding + fetching

    private static let decoding: [SettingsField] = [
        int(
            "media.per_request",
            "media",
            "Images and clips of one request; 0 = none are taken.",
            \.media.perRequest,
            0...1024
        ),
        int(
            "media.image_bytes",
            "bytes",
            "Size of an encoded image.",
            \.media.imageBytes,
            1024...1_073_741_824
        ),
        int(
            "media.video_bytes",
            "bytes",
            "Size of an encoded clip.",
            \.media.videoBytes,
            1024...1_073_741_824
        ),
        int(
            "media.pixels",
            "pixels",
            "Pixels of an image or a frame, as its header says.",
            \.media.pixels,
            1...1_000_000_000
        ),
        int(
            "media.side",
            "pixels",
            "Longer side of an image or a frame.",
            \.media.side,
            1...65_535
        ),
        int(
            "media.video_seconds",
            "seconds",
            "Length of a clip.",
            \.media.videoSeconds,
            1...86_400
        ),
        int(
            "media.video_frames",
            "frames",
            "Frames that a model sees of a clip where the request says nothing.",
            \.media.videoFrames,
            2...4096
        ),
        int(
            "media.max_frames",
            "frames",
            "Frames of a clip that a request may ask for.",
            \.media.maxFrames,
            2...4096
        ),
        int(
            "media.pixel_bytes",
            "bytes",
            "Pixels of one medium, resized, three bytes each.",
            \.media.pixelBytes,
            1_048_576...4_294_967_296
        ),
        int(
            "media.pixel_bytes_total",
            "bytes",
            "Pixels of all requests in hand; beyond it 503.",
            \.media.pixelBytesTotal,
            1_048_576...1_099_511_627_776
        ),
        seconds(
            "media.decode_timeout",
            "Longest decoding of one medium; at least 0.1.",
            \.media.decodeTimeout,
            from: 0.1
        ),
        int(
            "media.cpu_seconds",
            "seconds",
            "Processor time of decoding one medium.",
            \.media.cpuSeconds,
            1...600
        ),
        int(
            "media.memory_bytes",
            "bytes",
            "Address space of a decoder.",
            \.media.memoryBytes,
            268_435_456...68_719_476_736
        ),
        int(
            "media.spares",
            "processes",
            "Decoders that wait for work, once a model that takes media was asked for.",
            \.media.spares,
            0...64
        ),
        int("media.processes", "processes", "Decoders at once.", \.media.processes, 1...256),
        int(
            "media.threads",
            "threads",
            "Threads of one decoder, as far as there are processors.",
            \.media.threads,
            1...16
        ),
        flag(
            "media.orient",
            "Whether images are turned as their EXIF orientation says; transformers does not.",
            \.media.orient
        ),
        text(
            "media.root",
            "folder",
            "Media that keys with media:file may name as file:NAME; empty = none.",
            \.media.root
        ),
        text(
            "media.executable",
            "file",
            "The decoder; empty = torchgate-media beside the server.",
            \.media.executable
        ),
    ]

    private static let fetching: [SettingsField] = [
        SettingsField(
            key: "media.fetch.networks",
            unit: "networks",
            effect:
                "Networks (127.0.0.0/8, ::1/128) allowed besides public addresses, on any port.",
            shortVariables: [],
            read: { raw, settings throws(RawError) in
                let words = try raw.strings()
                guard words.allSatisfy(isNetwork) else {
                    throw RawError(problem: "expected networks such as 10.0.0.0/8 or ::1/128")
                }
                settings.media.fetch.networks = words
            },
            show: { $0.media.fetch.networks.joined(separator: ",") }
        ),
        list(
            "media.fetch.hosts",
            "host names",
            "Hosts that alone are fetched from, *.example.com for all below one; empty = all.",
            \.media.fetch.hosts
        ),
        flag("media.fetch.http", "Whether plain http is fetched too.", \.media.fetch.http),
        seconds(
            "media.fetch.connect_timeout",
            "Longest wait for a name and a connection; at least 0.1.",
            \.media.fetch.connectTimeout,
            from: 0.1
        ),
        seconds(
            "media.fetch.timeout",
            "Longest fetch, redirects included; at least 0.1.",
            \.media.fetch.timeout,
            from: 0.1
        ),
        int(
            "media.fetch.redirects",
            "redirects",
            "Redirects of a fetch.",
            \.media.fetch.redirects,
            0...20
        ),
        int("media.fetch.total", "fetches", "Fetches at once.", \.media.fetch.total, 1...4096),
        int(
            "media.fetch.per_key",
            "fetches",
            "Fetches of one key at once; more wait.",
            \.media.fetch.perKey,
            1...4096
        ),
    ]

    /// Digits, dots or colons, and a length behind a slash; the server reads it more closely.
    private static func isNetwork(_ word: String) -> Bool {
        let parts = word.split(separator: "/", omittingEmptySubsequences: false)
        guard let address = parts.first, parts.count <= 2, !address.isEmpty,
            address.utf8.allSatisfy({ byte in
                switch byte {
                case 0x30...0x3A, 0x2E, 0x41...0x46, 0x61...0x66: true
                default: false
                }
            })
        else { return false }
        let numbers = address.split(separator: ".", omittingEmptySubsequences: false)
        let isV4 = numbers.count == 4 && numbers.allSatisfy { UInt8($0) != nil }
        guard address.contains(":") || isV4 else { return false }
        return parts.count == 1 || Int(parts[1]).map { (0...128).contains($0) } ?? false
    }
}
