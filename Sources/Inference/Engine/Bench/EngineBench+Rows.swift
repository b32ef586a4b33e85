internal import Checkpoints
internal import EngineLink
internal import JSON
internal import Vision

extension EngineBench {
    /// One row, still to be measured.
    struct Work {
        let name: String
        let perform: () throws -> BenchRow
    }

    /// What was asked for, in the order of the report.
    func work() throws -> [Work] {
        let traffic = try traffic()
        report["weight_bytes"] = .int(traffic.weightBytes)
        report["state_bytes_per_token"] = .int(traffic.stateBytesPerToken)
        let decodes = options.batches.map { batch in
            Work(name: "decode \(batch)") { try self.decode(batch, traffic) }
        }
        let prefills = options.prefills.map { count in
            Work(name: "prefill \(count)") { try self.prefill(count, traffic) }
        }
        let images = options.images.map { size in
            Work(name: "image \(size.width)x\(size.height)") { try self.image(size) }
        }
        let streams = options.streams.map { count in
            Work(name: "streams \(count)") { try self.stream(count) }
        }
        return decodes + prefills + images + streams
    }

    private func opened() throws -> BenchSession {
        guard let session else { throw BenchError(description: "no model") }
        return session
    }

    private func timed<Value>(_ body: () throws -> Value) rethrows -> (Value, Double) {
        let began = Memory.now()
        let value = try body()
        return (value, Double(Memory.now() - began) / 1e9)
    }

    private func decode(_ batch: Int, _ traffic: StepTraffic) throws -> BenchRow {
        var session = try opened()
        defer { self.session = session }
        var ids: [GenerationID] = []
        for _ in 0..<batch {
            let prompt = options.prompt ?? session.text(options.context)
            ids.append(try session.submit(prompt, tokens: longest - prompt.count - 1))
        }
        var texts = try session.start(ids)
        func step() throws {
            for drawn in try session.step() { texts[drawn.id, default: []].append(drawn.token) }
        }
        for _ in 0..<Self.warmSteps { try step() }
        let held = session.engine.stats.usedTokens
        let overlaps = session.engine.overlaps
        func count() -> Int { texts.values.reduce(0) { $0 + $1.count } }
        let first = count()
        let seconds = try (0..<options.steps).map { _ in try timed(step).1 }
        guard count() - first == batch * options.steps, session.engine.stats.preempted == 0 else {
            let room = session.engine.description.kvTokens
            throw BenchError(description: "the cache holds \(room) tokens only")
        }
        // Every step makes each sequence one longer.
        let positions = Double(held) + Double(batch * options.steps) / 2
        let bytes = traffic.bytes(positions: positions)
        let operations = traffic.decodeOperations(rows: batch)
        var row = BenchRow(
            kind: "decode",
            name: "\(batch)",
            seconds: seconds,
            tokens: Double(batch)
        )
        row.ideal = ideal(bytes: bytes, operations: operations)
        row.more = [
            ("batch", .int(batch)), ("context", .double(positions / Double(max(1, batch)))),
            ("bytes", .double(bytes)), ("operations", .double(operations)),
            ("overlapped_steps", .int(Int(session.engine.overlaps - overlaps))),
        ]
        if options.prompt != nil {
            let shown = ids.map { id in
                JSONValue.array((texts[id] ?? []).prefix(options.steps).map { .int(Int($0)) })
            }
            row.more.append(("texts", .array(shown)))
        }
        return row
    }

    private func prefill(_ count: Int, _ traffic: StepTraffic) throws -> BenchRow {
        let seconds = try repeated { session in
            let prompt = session.text(count)
            return { try $0.submit(prompt, tokens: 1) }
        }
        let operations = traffic.prefillOperations(tokens: count)
        var row = BenchRow(
            kind: "prefill",
            name: "\(count)",
            seconds: seconds,
            tokens: Double(count)
        )
        row.ideal = options.arithmetic.map { operations / ($0 * 1e12) }
        row.more = [("operations", .double(operations))]
        return row
    }

    /// Tower and prompt to the first token, beside a text of as many tokens.
    private func image(_ size: (width: Int, height: Int)) throws -> BenchRow {
        guard let processor = try VisionProcessor(of: checkpoint.configuration) else {
            throw BenchError(description: "the model takes text only")
        }
        let target = try processor.image.target(
            of: PixelSize(width: size.width, height: size.height)
        )
        let factor = processor.image.layout.factor
        let tokens = target.width / factor * (target.height / factor)
        func prompt(_ session: inout BenchSession) -> [Int32] {
            let picture = Int32(clamping: processor.imageToken)
            return session.text(4) + Array(repeating: picture, count: tokens) + session.text(12)
        }
        let seconds = try repeated { session in
            let pixels = try session.pixels(3 * target.width * target.height)
            let medium = PromptMedia(
                kind: .image,
                frames: 1,
                width: target.width,
                height: target.height,
                spans: [4..<4 + tokens],
                identity: session.text(32).map { UInt8(truncatingIfNeeded: $0) },
                pixels: pixels
            )
            let ids = prompt(&session)
            return { try $0.submit(ids, tokens: 1, media: [medium]) }
        }
        let text = try repeated { session in
            let ids = session.text(tokens + 16)
            return { try $0.submit(ids, tokens: 1) }
        }
        var row = BenchRow(
            kind: "image",
            name: "\(size.width)x\(size.height)",
            seconds: seconds,
            tokens: Double(tokens)
        )
        row.more = [
            ("width", .int(target.width)), ("height", .int(target.height)),
            ("text_seconds", .double(text.sorted()[text.count / 2])),
        ]
        return row
    }

    private func stream(_ count: Int) throws -> BenchRow {
        var session = try opened()
        defer { self.session = session }
        let prompts = (0..<count).map { _ in options.prompt ?? session.text(options.context) }
        var drawn = 0
        let (_, seconds) = try timed {
            for prompt in prompts { _ = try session.submit(prompt, tokens: options.generated) }
            while !session.engine.isIdle { drawn += try session.step().count }
        }
        guard drawn == count * options.generated else {
            throw BenchError(description: "\(drawn) of \(count * options.generated) tokens")
        }
        return BenchRow(
            kind: "streams",
            name: "\(count)",
            seconds: [seconds],
            tokens: Double(drawn)
        )
    }

    /// Seconds to the first token of one request, several times after a first one that does not count.
    private func repeated(
        _ prepare: (inout BenchSession) throws -> (inout BenchSession) throws -> GenerationID
    ) throws -> [Double] {
        var session = try opened()
        defer { self.session = session }
        var all: [Double] = []
        for _ in 0...max(1, options.repeats) {
            let submit = try prepare(&session)
            let (_, seconds) = try timed {
                let id = try submit(&session)
                _ = try session.start([id])
            }
            session.clear()
            all.append(seconds)
        }
        return Array(all.dropFirst())
    }

    /// Seconds that memory or arithmetic need at least; nil where no rate is known.
    private func ideal(bytes: Double, operations: Double) -> Double? {
        guard let bandwidth = options.bandwidth else { return nil }
        return max(
            bytes / (bandwidth * 1e9),
            options.arithmetic.map { operations / ($0 * 1e12) } ?? 0
        )
    }
}
