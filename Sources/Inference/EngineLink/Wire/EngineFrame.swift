internal import JSON

/// What an engine says, as frames.
package enum EngineFrame: Sendable, Equatable {
    case hello(EngineHello)
    case message(EngineMessage)
    /// Answers a ping; the counter moves while the engine's thread works, within a step too.
    case pong(nonce: UInt64, progress: UInt64)

    private enum Kind: UInt8 {
        case hello = 65
        case progress, loaded, loadFailed, step, failed, stats, pong
    }

    /// The frame; the values keep the wire's bounds.
    package var frame: Frame {
        switch self {
        case .hello(let hello): Self.frame(.hello, hello.json)
        case .pong(let nonce, let progress):
            Self.frame(.pong, ["nonce": .unsigned(nonce), "progress": .unsigned(progress)])
        case .message(.progress(let done, let total)):
            Self.frame(
                .progress,
                ["done": .int(max(0, min(done, total))), "total": .int(max(0, total))]
            )
        case .message(.loaded(let model)): Self.frame(.loaded, model.json)
        case .message(.loadFailed(let failure)):
            Self.frame(
                .loadFailed,
                [
                    "cause": .string(failure.cause.rawValue),
                    "detail": .string(cut(failure.detail)),
                    "neededBytes": .optional(failure.shortage?.neededBytes),
                    "availableBytes": .optional(failure.shortage?.availableBytes),
                ]
            )
        case .message(.step(let step)):
            Frame(kind: Kind.step.rawValue, id: 0, payload: step.payload)
        case .message(.failed(let id, let failure)):
            Self.frame(
                .failed,
                ["code": .string(cut(failure.code)), "message": .string(cut(failure.message))],
                id
            )
        case .message(.stats(let stats)): Self.frame(.stats, stats.json)
        }
    }

    /// An error's text must never cost the connection: what is too long is cut.
    private func cut(_ text: String) -> String {
        text.utf8.count <= WireRange.message ? text : String(text.prefix(WireRange.message / 4))
    }

    private static func frame(_ kind: Kind, _ body: JSONValue, _ id: GenerationID = 0) -> Frame {
        Frame(kind: kind.rawValue, id: id, payload: body.bytes())
    }

    /// Reads a frame.
    /// - Throws: `ProtocolError` for an unknown kind and for every value out of range.
    package init(_ frame: Frame) throws(ProtocolError) {
        guard let kind = Kind(rawValue: frame.kind) else { throw ProtocolError("unknown kind") }
        if kind == .step {
            self = .message(.step(try EngineStep(payload: frame.payload)))
            return
        }
        let fields = try Fields(payload: frame.payload)
        switch kind {
        case .hello: self = .hello(try EngineHello(fields))
        case .progress:
            let total = try fields.int("total", 0...Int.max)
            let done = try fields.int("done", 0...total)
            self = .message(.progress(done: done, total: total))
        case .loaded: self = .message(.loaded(try LoadedModel(fields)))
        case .loadFailed:
            let cause = LoadFailureCause(
                rawValue: try fields.string("cause", WireRange.shortText)
            )
            let detail = try fields.string("detail", WireRange.message)
            var failure = LoadFailure(cause: cause ?? .other, detail: detail)
            if let needed = try fields.optionalInt("neededBytes", 0...Int.max),
                let available = try fields.optionalInt("availableBytes", 0...Int.max)
            {
                failure.shortage = .init(neededBytes: needed, availableBytes: available)
            }
            self = .message(.loadFailed(failure))
        case .failed:
            let failure = GenerationFailure(
                code: try fields.string("code", WireRange.message),
                message: try fields.string("message", WireRange.message)
            )
            self = .message(.failed(frame.id, failure))
        case .stats: self = .message(.stats(try EngineStats(fields)))
        case .pong:
            self = .pong(
                nonce: try fields.unsigned("nonce"),
                progress: try fields.unsigned("progress")
            )
        case .step: throw ProtocolError("unreachable")
        }
    }
}

/// An engine's first frame: who it is and what it holds.
package struct EngineHello: Sendable, Equatable {
    /// Protocol version.
    package var version: Int
    /// Build of the engine.
    package var build: String
    /// Its process.
    package var pid: Int32
    /// What it loads or has loaded.
    package var load: LoadRequest?
    /// The model, once it is loaded.
    package var model: LoadedModel?
    /// What an earlier front said last of the time that the idle engine stays.
    package var linger: Linger?

    /// Seconds, or for ever.
    package enum Linger: Sendable, Equatable {
        /// Unload after so many idle seconds.
        case seconds(Int)
        /// Never unload.
        case forever

        init(_ seconds: Int?) { self = seconds.map { .seconds($0) } ?? .forever }

        var seconds: Int? { if case .seconds(let seconds) = self { seconds } else { nil } }
    }

    /// Creates a hello.
    package init(
        version: Int,
        build: String,
        pid: Int32,
        load: LoadRequest?,
        model: LoadedModel?,
        linger: Linger? = nil
    ) {
        self.version = version
        self.build = build
        self.pid = pid
        self.load = load
        self.model = model
        self.linger = linger
    }

    var json: JSONValue {
        [
            "protocol": .int(version), "build": .string(build), "pid": .int(Int(pid)),
            "load": load?.json ?? .null, "model": model?.json ?? .null,
            "linger": .optional(linger.map { $0.seconds.map(WireRange.clampSeconds) ?? -1 }),
        ]
    }

    init(_ fields: Fields) throws(ProtocolError) {
        version = try fields.int("protocol", 0...65_535)
        build = try fields.string("build", WireRange.shortText)
        pid = Int32(truncatingIfNeeded: try fields.int("pid", 1...Int(Int32.max)))
        // Another version may mean something else by the rest.
        guard version == WireProtocol.version else { return }
        if fields.isPresent("load") { load = try LoadRequest(Fields(fields.object["load"])) }
        if fields.isPresent("model") { model = try LoadedModel(Fields(fields.object["model"])) }
        linger =
            try fields.optionalInt("linger", -1...WireRange.seconds.upperBound)
            .map { Linger($0 < 0 ? nil : $0) }
    }
}
