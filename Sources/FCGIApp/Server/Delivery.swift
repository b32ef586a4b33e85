internal import FastCGI
internal import Foundation
internal import OpenAI
internal import Settings
internal import Streams
internal import Synchronization

/// The stream of one generation.
typealias GenerationStream = EventStream<StreamItem, GenerationContext>

/// Carries a generation's events to one client, on the client's connection thread.
///
/// A reader with a cursor, whether the answer is streamed or not: so both are the same text.
struct Delivery {
    let call: Call
    let stream: GenerationStream
    let settings: Settings
    /// Seconds after which asking again makes sense while the model loads.
    let retrySeconds: @Sendable () -> Int

    /// Why reading ended.
    enum Ending {
        /// All was sent.
        case complete
        /// The client left.
        case clientGone
        /// The request took longer than it may.
        case deadline
    }

    private var remaining: Double { settings.limits.requestTimeout - call.age }

    /// Watches the connection: a client that leaves, or has left, wakes the readers that are there.
    private func watch() {
        call.exchange.onDisconnect { [log = stream.log] in log.wake() }
    }

    // MARK: Streamed

    /// Sends events from an index on as they come, one write and flush for all that came at once.
    func stream(from index: Int = 0) -> Ending {
        var writer: ItemWriter?
        var reader = stream.log.reader(from: index)
        watch()
        var last = monotonicSeconds()
        var shownLoading = -1
        while true {
            let silence =
                call.isStreaming ? settings.streams.heartbeat : settings.streams.headerDelay
            let wait = min(max(0, silence - (monotonicSeconds() - last)), remaining)
            var output: [UInt8] = []
            switch reader.read(timeout: wait) {
            case .events(let items, let from):
                if !call.isStreaming, case .failure(let error)? = items.first, from == index {
                    call.send(error)
                    return .complete
                }
                let known = writer ?? stream.context.writer
                writer = known
                append(items, from: from, with: known, to: &output)
            case .ended:
                ServerSentEvents.appendDone(to: &output)
                call.stream(output)
                return .complete
            case .idle:
                if remaining <= 0 {
                    call.send(APIError.upstreamTimeout)
                    return .deadline
                }
                if call.isStreaming { output += ServerSentEvents.heartbeat }
                appendLoading(to: &output, &shownLoading)
            case .woken:
                if call.exchange.isDisconnected { return .clientGone }
                guard call.isStreaming else { continue }
                appendLoading(to: &output, &shownLoading)
                if output.isEmpty { continue }
            case .gone(let first):
                call.send(APIError.eventsExpired(first: first))
                return .complete
            case .ahead:
                call.send(APIError.eventsExpired(first: nil))
                return .complete
            }
            call.stream(output)
            last = monotonicSeconds()
            if call.exchange.isDisconnected { return .clientGone }
        }
    }

    private func append(
        _ items: [StreamItem],
        from: Int,
        with writer: ItemWriter,
        to output: inout [UInt8]
    ) {
        for (place, item) in items.enumerated() {
            let start = output.count
            var shown = true
            ServerSentEvents.append(session: stream.key.session, index: from + place, to: &output) {
                output in
                shown = writer.append(item, to: &output)
            }
            if !shown { output.removeLast(output.count - start) }
        }
    }

    /// `: loading 43%`, when it changed.
    private func appendLoading(to output: inout [UInt8], _ shown: inout Int) {
        guard case .loading(let fraction) = stream.context.phase else { return }
        let percent = Int(min(max(0, fraction), 1) * 100)
        guard percent != shown else { return }
        shown = percent
        ServerSentEvents.appendComment("loading \(percent)%", to: &output)
    }

    // MARK: Whole

    /// Collects everything and sends one answer.
    func whole(choices count: Int) -> Ending {
        var reader = stream.log.reader()
        watch()
        var texts = [String](repeating: "", count: count)
        var logprobs = [[LogprobEntry]?](repeating: nil, count: count)
        var finishes = [FinishReason](repeating: .stop, count: count)
        var totals: (Usage, Timings)?
        while true {
            switch reader.read(timeout: min(remaining, loadPatience ?? remaining)) {
            case .events(let items, _):
                for item in items {
                    if let choice = item.choice, !texts.indices.contains(choice) {
                        call.send(APIError.internalError)
                        return .complete
                    }
                    switch item {
                    case .role: break
                    case .text(let choice, let text, let entries):
                        texts[choice] += text
                        if let entries { logprobs[choice, default: []] += entries }
                    case .finish(let choice, let reason): finishes[choice] = reason
                    case .usage(let usage, let timings): totals = (usage, timings)
                    case .failure(let error):
                        call.send(error)
                        return .complete
                    }
                }
            case .ended:
                guard let (usage, timings) = totals else {
                    call.send(APIError.internalError)
                    return .complete
                }
                let answers = texts.indices.map { index in
                    AnsweredChoice(
                        index: index,
                        text: texts[index],
                        finish: finishes[index],
                        logprobs: logprobs[index]
                    )
                }
                var output: [UInt8] = []
                stream.context.writer.appendWhole(answers, usage, timings, to: &output)
                call.send(status: 200, output)
                return .complete
            case .woken:
                if call.exchange.isDisconnected { return .clientGone }
            case .idle:
                if remaining <= 0 {
                    call.send(APIError.upstreamTimeout)
                    return .deadline
                }
                if let loadPatience, loadPatience <= 0 {
                    call.send(APIError.modelLoading(retryAfter: retrySeconds()))
                    return .deadline
                }
            case .gone(let first):
                call.send(APIError.eventsExpired(first: first))
                return .complete
            case .ahead:
                call.send(APIError.eventsExpired(first: nil))
                return .complete
            }
        }
    }

    /// Seconds that an answer that is not streamed still waits for a load; nil when none is going on.
    private var loadPatience: Double? {
        guard case .loading = stream.context.phase else { return nil }
        return settings.engine.loadWait - (monotonicSeconds() - stream.context.loadingSince)
    }
}

extension Array where Element == [LogprobEntry]? {
    fileprivate subscript(index: Int, default fallback: [LogprobEntry]) -> [LogprobEntry] {
        get { self[index] ?? fallback }
        set { self[index] = newValue }
    }
}
