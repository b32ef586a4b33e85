/// The framing of `text/event-stream`.
///
/// Comments are ONE line: a blank line after one would dispatch an empty event in the decoders of
/// openai-python (once an id was seen) and openai-go.
public enum ServerSentEvents {
    /// What goes out with the headers, since nginx does not forward a bare header.
    public static let opening = Array(": ok\n".utf8)
    /// The heartbeat while nothing else is sent.
    public static let heartbeat = Array(": ping\n".utf8)

    /// Appends one event; `write` appends its data, which is JSON on one line.
    public static func append(
        session: String,
        index: Int,
        to output: inout [UInt8],
        _ write: (inout [UInt8]) -> Void
    ) {
        output.append(literal: "id: ")
        output += session.utf8
        output.append(UInt8(ascii: ":"))
        output.append(json: index)
        output.append(literal: "\ndata: ")
        write(&output)
        output.append(literal: "\n\n")
    }

    /// Appends the last event of every stream, which has no index: there is nothing after it.
    public static func appendDone(to output: inout [UInt8]) {
        output.append(literal: "data: [DONE]\n\n")
    }

    /// Appends a comment line; line breaks in it become spaces.
    public static func appendComment(_ text: String, to output: inout [UInt8]) {
        output.append(literal: ": ")
        output += text.utf8.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }
        output.append(0x0A)
    }

    /// The index after which `Last-Event-ID` wants to go on: `session:index`, or the index alone.
    ///
    /// Nil where the text is neither, or names another session.
    public static func index(ofLastEvent text: String, session: String) -> Int? {
        let place: Substring
        if let colon = text.lastIndex(of: ":") {
            guard text[..<colon] == session else { return nil }
            place = text[text.index(after: colon)...]
        } else {
            place = text[...]
        }
        guard !place.isEmpty, place.utf8.allSatisfy({ $0 &- 0x30 < 10 }) else { return nil }
        return Int(place)
    }
}
