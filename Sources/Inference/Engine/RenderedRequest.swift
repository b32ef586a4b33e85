internal import Checkpoints
internal import EngineLink
internal import Foundation
internal import JSON
internal import Torch

/// A chat request as the front renders it: token ids, and the pixels of its images and clips.
struct RenderedRequest {
    /// Why there is none.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let ids: [Int32]
    let media: [MediaPrompt.Source]

    /// Runs the `torchgate` beside this program.
    init(model: String, request: String) throws {
        let own = URL(fileURLWithPath: CommandLine.arguments.first ?? "").resolvingSymlinksInPath()
        let running = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        let folder = (running.map { URL(fileURLWithPath: $0) } ?? own).deletingLastPathComponent()
        let frames = FileManager.default.temporaryDirectory
            .appendingPathComponent("torchgate-frames-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: frames,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        defer { try? FileManager.default.removeItem(at: frames) }
        let process = Process()
        process.executableURL = folder.appendingPathComponent("torchgate")
        process.arguments = [
            "render", "--model", model, "--request", request, "--frames-to", frames.path,
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let printed = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(description: "the request cannot be rendered")
        }
        try self.init(printed: Array(printed), frames: frames)
    }

    /// Reads what `torchgate render --frames-to FOLDER` has printed into `FOLDER/rendered.json`.
    init(rendered folder: String) throws {
        let frames = URL(fileURLWithPath: folder)
        let printed = try Data(contentsOf: frames.appendingPathComponent("rendered.json"))
        try self.init(printed: Array(printed), frames: frames)
    }

    private init(printed: [UInt8], frames: URL) throws {
        let answer = try JSONValue.parse(printed)
        let ids = answer["ids"]?.array?.compactMap { $0.int.flatMap(Int32.init(exactly:)) } ?? []
        guard !ids.isEmpty else { throw Failure(description: "the request has no tokens") }
        self.ids = ids
        media = try (answer["media"]?.array ?? []).map { try Self.source($0, in: frames) }
    }

    private static func source(_ value: JSONValue, in folder: URL) throws -> MediaPrompt.Source {
        let spans = (value["spans"]?.array ?? []).compactMap { span -> Range<Int>? in
            let ends = span.array?.compactMap(\.int) ?? []
            return ends.count == 2 && ends[0] < ends[1] ? ends[0]..<ends[1] : nil
        }
        guard let kind = value["kind"]?.string.flatMap(PromptMedia.Kind.init(rawValue:)),
            let frames = value["frames"]?.int, let width = value["width"]?.int,
            let height = value["height"]?.int, let name = value["file"]?.string, !spans.isEmpty
        else { throw Failure(description: "the renderer describes a medium wrongly") }
        let bytes = try Data(contentsOf: folder.appendingPathComponent(name))
        return MediaPrompt.Source(
            kind: kind,
            frames: frames,
            width: width,
            height: height,
            spans: spans,
            secondsPerGrid: value["seconds_per_grid"]?.double,
            identity: [],
            read: { body in bytes.withUnsafeBytes { body($0) } }
        )
    }
}
