internal import JSON

/// What a front says, as frames.
package enum FrontMessage: Sendable, Equatable {
    case hello(version: Int, build: String)
    case load(LoadRequest)
    case submit(GenerationID, GenerationRequest)
    case cancel(GenerationID, choice: Int?)
    case unload
    case stats
    case trim
    case ping(UInt64)
    /// So many bytes of pixels, for the generation's submission, which follows.
    case pixels(GenerationID, bytes: Int)
    /// Seconds that the front would keep the idle engine, for the next front; nil: for ever.
    case linger(Int?)

    private enum Kind: UInt8 {
        case hello = 1
        case load, submit, cancel, unload, stats, trim, ping, linger, pixels
    }

    /// The frame; the values keep the wire's bounds.
    package var frame: Frame {
        switch self {
        case .hello(let version, let build):
            Self.frame(.hello, ["protocol": .int(version), "build": .string(build)])
        case .load(let request): Self.frame(.load, request.json)
        case .submit(let id, let request): Self.frame(.submit, request.json, id)
        case .cancel(let id, let choice): Self.frame(.cancel, ["choice": .optional(choice)], id)
        case .unload: Self.frame(.unload, [:])
        case .stats: Self.frame(.stats, [:])
        case .trim: Self.frame(.trim, [:])
        case .ping(let nonce): Self.frame(.ping, ["nonce": .unsigned(nonce)])
        case .pixels(let id, let bytes): Self.frame(.pixels, ["bytes": .int(bytes)], id)
        case .linger(let seconds):
            Self.frame(.linger, ["seconds": .optional(seconds.map(WireRange.clampSeconds))])
        }
    }

    private static func frame(_ kind: Kind, _ body: JSONValue, _ id: GenerationID = 0) -> Frame {
        Frame(kind: kind.rawValue, id: id, payload: body.bytes())
    }

    /// Sends it; the pixels of a submission's media go ahead, a frame for each.
    package func send(on socket: FrameSocket) {
        if case .submit(let id, let request) = self {
            for medium in request.media {
                let bytes = medium.pixels.byteCount
                socket.send(Self.pixels(id, bytes: bytes).frame, passing: medium.pixels)
            }
        }
        socket.send(frame)
    }

    /// Reads a frame; `pixels` are those that came ahead of a submission.
    /// - Throws: `ProtocolError` for an unknown kind and for every value out of range.
    package init(_ frame: Frame, pixels: [SharedPixels] = []) throws(ProtocolError) {
        guard let kind = Kind(rawValue: frame.kind) else { throw ProtocolError("unknown kind") }
        let fields = try Fields(payload: frame.payload)
        switch kind {
        case .hello:
            self = .hello(
                version: try fields.int("protocol", 0...65_535),
                build: try fields.string("build", WireRange.shortText)
            )
        case .load: self = .load(try LoadRequest(fields))
        case .submit: self = .submit(frame.id, try GenerationRequest(fields, pixels: pixels))
        case .cancel:
            self = .cancel(
                frame.id,
                choice: try fields.optionalInt("choice", WireRange.choiceIndex)
            )
        case .unload: self = .unload
        case .stats: self = .stats
        case .trim: self = .trim
        case .ping: self = .ping(try fields.unsigned("nonce"))
        case .pixels: self = .pixels(frame.id, bytes: try fields.int("bytes", WireRange.count))
        case .linger: self = .linger(try fields.optionalInt("seconds", WireRange.seconds))
        }
    }
}
