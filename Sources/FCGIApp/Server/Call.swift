internal import CLinux
internal import Crypto
internal import FastCGI
internal import Foundation
internal import JSON
internal import Logging
internal import OpenAI

/// One request in the hands of its connection thread: what came, who asks, and the way to answer.
///
/// Used by that thread only.
final class Call {
    /// The bytes in and out.
    let exchange: FastCGIExchange
    /// The client's id if nginx found it sane, else nginx's.
    let requestID: String
    /// When the request was in our hands, nanoseconds of the monotonic clock.
    let started = tg_monotonic_ns()
    /// Upper case.
    let method: String
    /// Without the query.
    let path: String
    /// Tells a repetition of this request from another one; set by `json`, empty where no session is named.
    private(set) var identity: [UInt8] = []
    /// Set by the gate.
    var principal: Principal?
    /// Headers of the key's limits, set by the gate.
    var limitHeaders: [(String, String)] = []
    /// Further headers of this answer.
    var extraHeaders: [(String, String)] = []
    /// The status that was sent; 0 = none yet.
    private(set) var status = 0
    /// Whether the answer is a stream of events whose headers are out.
    private(set) var isStreaming = false
    /// Bytes of bodies sent.
    private(set) var bytesSent = 0

    init(_ exchange: FastCGIExchange) {
        self.exchange = exchange
        let request = exchange.request
        method = request.param("REQUEST_METHOD") ?? "GET"
        path = request.param("DOCUMENT_URI") ?? "/"
        requestID = request.param("HTTP_X_REQUEST_ID") ?? String(tg_monotonic_ns(), radix: 16)
    }

    /// Seconds since the request was in our hands.
    var age: Double { Double(tg_monotonic_ns() - started) / 1e9 }

    /// The value of a query parameter, percent-decoded.
    func query(_ name: String) -> String? {
        for pair in (exchange.request.param("QUERY_STRING") ?? "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1)
            guard sides.first.map(String.init) == name else { continue }
            return sides.count > 1 ? sides[1].removingPercentEncoding : ""
        }
        return nil
    }

    /// The body as JSON; its bytes are let go.
    /// - Throws: 413, 415 or 400.
    func json() throws(APIError) -> JSONValue {
        let type = exchange.request.param("CONTENT_TYPE") ?? ""
        let media = type.split(separator: ";").first.map { $0.lowercased() } ?? ""
        let trimmed = media.trimmingCharacters(in: .whitespaces)
        guard trimmed.isEmpty || trimmed == "application/json" || trimmed.hasSuffix("+json") else {
            throw .unsupportedMediaType
        }
        defer { exchange.dropBody() }
        let body = exchange.request.body
        let value: JSONValue
        do throws(JSONError) { value = try JSONValue.parse(body) } catch {
            throw .invalidJSON(error)
        }
        // Images make bodies large, and hashing them slow.
        if value["session_id"] != nil {
            var hash = SHA256()
            hash.update(data: Array("\(method) \(path)\n".utf8))
            hash.update(data: body)
            identity = Array(hash.finalize())
        }
        return value
    }

    /// Sends a whole answer.
    func send(
        status: Int,
        type: String = "application/json",
        headers: [(String, String)] = [],
        _ body: [UInt8]
    ) {
        guard self.status == 0 else { return }
        let length = method == "HEAD" ? [] : [("Content-Length", String(body.count))]
        head(status: status, [("Content-Type", type)] + length + headers)
        if method != "HEAD" { write(body) }
        exchange.response.flush()
    }

    /// Sends a JSON value.
    func send(status: Int = 200, _ value: JSONValue, headers: [(String, String)] = []) {
        send(status: status, headers: headers, value.bytes() + [0x0A])
    }

    /// Sends an error in the API's form; in a stream that has begun, as its last event.
    func send(_ error: APIError) {
        guard !isStreaming else {
            var output = Array("data: ".utf8) + error.body + Array("\n\n".utf8)
            ServerSentEvents.appendDone(to: &output)
            return stream(output)
        }
        var headers: [(String, String)] = []
        if let seconds = error.retryAfterSeconds {
            headers.append(("Retry-After", String(max(1, seconds))))
            headers.append(("retry-after-ms", String(max(1, seconds) * 1000)))
        }
        if [408, 409, 429, 500, 503, 504].contains(error.status) {
            headers.append(("x-should-retry", error.shouldRetry ? "true" : "false"))
        }
        let detail: JSONValue = ["detail": .string(error.message)]
        let body = Router.hasDetailErrors(path) ? detail.bytes() : error.body
        send(status: error.status, headers: headers, body + [0x0A])
    }

    /// Sends status and headers, those of every reply included.
    func head(status: Int, _ headers: [(String, String)]) {
        self.status = status
        let milliseconds = (tg_monotonic_ns() - started) / 1_000_000
        exchange.response.writeHead(
            status: status,
            headers: headers + [
                ("x-request-id", requestID), ("openai-processing-ms", String(milliseconds)),
                ("Strict-Transport-Security", "max-age=63072000"),
            ] + limitHeaders + extraHeaders
        )
    }

    /// Sends a piece of a stream of events, at first its headers.
    func stream(_ output: [UInt8]) {
        if !isStreaming {
            guard status == 0 else { return }
            isStreaming = true
            head(
                status: 200,
                [
                    ("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
                    ("X-Accel-Buffering", "no"),
                ]
            )
            // nginx forwards headers only with a byte of the body behind them.
            write(ServerSentEvents.opening)
        }
        write(output)
        exchange.response.flush()
    }

    /// Appends to the body.
    func write(_ bytes: [UInt8]) {
        bytesSent += bytes.count
        exchange.response.write(bytes)
    }
}
