internal import FastCGI
internal import OpenAI
internal import Streams

// GET /v1/streams/{session_id}: the events of a generation again, and then live, for who made it.
extension Application {
    func resumeStream(_ call: Call, _ principal: Principal, id: String) throws(APIError) {
        let last = try call.lastEvent(of: id)
        if call.method == "HEAD" { throw .methodNotAllowed(call.method) }
        let key = StreamKey(owner: principal.owner, session: id)
        guard let stream = generator.registry.attach(key) else {
            // Who has an event of it was here before; else foreign and unknown ids look the same.
            throw last == nil ? .streamNotFound(id) : .eventsExpired(first: nil)
        }
        deliver(stream, to: call) { $0.stream(from: last.map { $0 + 1 } ?? 0) }
    }
}

extension Call {
    /// The index of the last event that the client has of a session, as it says in `Last-Event-ID` or
    /// `?last_event_id=`; nil where it says nothing.
    /// - Throws: 400 where it is none of this session's.
    func lastEvent(of session: String?) throws(APIError) -> Int? {
        let header = exchange.request.param("HTTP_LAST_EVENT_ID") ?? ""
        guard let text = header.isEmpty ? query("last_event_id") : header, !text.isEmpty else {
            return nil
        }
        // The end of what a log can have, with room for one more.
        guard let session, let index = ServerSentEvents.index(ofLastEvent: text, session: session),
            index < 1 << 40
        else {
            throw .invalidValue(
                "last_event_id",
                "must be 'session_id:index', an event's id of the session that is named."
            )
        }
        return index
    }
}
