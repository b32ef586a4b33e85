// scripted-engine: stands in for torchgate-engine in tests of the front.
//
//   scripted-engine [serve] --socket PATH [--script FILE.json] [--NAME VALUE …]
//
// NAME is a field of EngineScript, VALUE its JSON. Without --socket it serves the socket that it
// inherits as descriptor 3, as systemd passes it, or the one that --fd names. --deaf true leaves pings unanswered.

import EngineLink
import Glibc
import JSON
import TestSupport

var members = JSONObject()
var listener = EngineEndpoint.Listener.inherited(3)
var answersPings = true
var words = CommandLine.arguments.dropFirst().drop { !$0.hasPrefix("--") }[...]

func fail(_ line: String) -> Never {
    let text = "scripted-engine: \(line)\n"
    _ = write(2, text, text.utf8.count)
    exit(2)
}

func contents(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "r") else { fail("cannot read \(path)") }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    return Array(bytes.prefix(fread(&bytes, 1, bytes.count, file)))
}

while let word = words.popFirst() {
    guard word.hasPrefix("--"), let value = words.popFirst() else { fail("\(word) needs a value") }
    switch word {
    case "--socket": listener = .path(value)
    case "--fd": listener = .inherited(Int32(value) ?? 3)
    case "--deaf": answersPings = value != "true"
    case "--script":
        guard let object = try? JSONValue.parse(contents(value)).object else {
            fail("\(value) is not a JSON object")
        }
        for (name, member) in object.members { members[name] = member }
    default: members[String(word.dropFirst(2))] = (try? JSONValue.parse(value)) ?? .string(value)
    }
}

signal(SIGPIPE, SIG_IGN)
do {
    let engine = try ScriptedEngine(
        script: EngineScript(.object(members)),
        listener: listener,
        answersPings: answersPings
    )
    // A crash must not run any exit handler.
    if engine.run() == .crashed { _exit(9) }
} catch {
    fail("\(error)")
}
