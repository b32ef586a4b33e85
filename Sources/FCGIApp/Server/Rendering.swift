internal import Checkpoints
internal import Foundation
public import JSON
internal import Media
internal import MediaLink
internal import OpenAI
public import Settings
internal import Vision

/// What `torchgate render` prints.
///
/// A chat request as the engine would get it. No engine, no weights.
public enum Rendering {
    /// Renders a request for a model's id, folder or file.
    ///
    /// `frames`: a folder that gets the pixels of each medium, `0.rgb` and so on; made where it is missing.
    /// - Throws: an error whose description says why the request cannot be rendered.
    public static func render(
        model: String,
        request: JSONValue,
        settings: Settings,
        frames: String? = nil
    ) throws -> JSONValue {
        let library = ModelLibrary(settings: settings)
        let entry: CatalogEntry
        if FileManager.default.fileExists(atPath: model) {
            let name = URL(fileURLWithPath: model).lastPathComponent
            let created = Date(timeIntervalSince1970: 0)
            entry = CatalogEntry(
                id: name,
                path: model,
                created: created,
                ownedBy: "user",
                hasWeights: false
            )
        } else {
            entry = try readable(of: model, library) { () throws(APIError) in
                try library.entry(named: model)
            }
        }
        let prompt = try readable(of: entry.id, library) { () throws(APIError) in
            let served = try library.read(entry)
            var limits = RequestLimits()
            limits.media = settings.media.perRequest
            limits.mediaFrames = settings.media.maxFrames
            let decoded = try ChatCompletionRequest.decode(request, limits: limits)
            var media = settings.media
            media.spares = 0
            let room = MediaRoom(media) { FileHandle.standardError.write(Data("\($0)\n".utf8)) }
            let maker = PromptMaker(settings: settings, room: room, faults: library.faults)
            let caller = PromptMaker.Caller(name: "-", permissions: [.url, .file])
            return try maker.prompt(decoded.conversation, served, caller)
        }
        var media = prompt.media.map(\.json)
        if let frames {
            try FileManager.default.createDirectory(
                atPath: frames,
                withIntermediateDirectories: true
            )
            for (place, medium) in prompt.media.enumerated() {
                try medium.write(to: "\(frames)/\(place).rgb")
                media[place]["file"] = .string("\(place).rgb")
            }
        }
        func grids(_ kind: MediaPart.Kind) -> JSONValue {
            .array(prompt.media.filter { $0.kind == kind }.map(\.grid.json))
        }
        return [
            "prompt": .string(prompt.text), "ids": .array(prompt.ids.map { .int(Int($0)) }),
            "image_grid_thw": grids(.image), "video_grid_thw": grids(.video),
            "media": .array(media.map(JSONValue.object)),
        ]
    }

    /// An error for people.
    public struct Failure: Error, CustomStringConvertible {
        /// Why the request cannot be rendered.
        public let description: String
    }

    private static func readable<T>(
        of model: String,
        _ library: ModelLibrary,
        _ body: () throws(APIError) -> T
    ) throws -> T {
        do throws(APIError) { return try body() } catch {
            let place = error.param.map { "\($0): " } ?? ""
            let cause = library.faults.cause(of: model).map { " (\($0))" } ?? ""
            throw Failure(description: place + error.message + cause)
        }
    }
}

extension PlacedMedium {
    /// One entry of `media`.
    fileprivate var json: JSONObject {
        let result = prepared.decoded.result
        var entry = JSONObject()
        entry["kind"] = .string(kind.rawValue)
        entry["format"] = .string(result.format)
        entry["frames"] = .int(result.frames)
        entry["height"] = .int(result.size.height)
        entry["width"] = .int(result.size.width)
        entry["grid_thw"] = grid.json
        entry["spans"] = .array(spans.map { [.int($0.lowerBound), .int($0.upperBound)] })
        entry["seconds_per_grid"] = secondsPerGrid.map { .double($0) } ?? .null
        entry["timestamps"] = timestamps.map { .array($0.map { .double($0) }) } ?? .null
        entry["indices"] = result.choice.map { .array($0.indices.map { .int($0) }) } ?? .null
        return entry
    }

    /// Writes the pixels.
    fileprivate func write(to path: String) throws {
        guard let descriptor = prepared.decoded.pixels.duplicate() else {
            throw Rendering.Failure(description: "too many files are open")
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try file.seek(toOffset: 0)
        try (try file.readToEnd() ?? Data()).write(to: URL(fileURLWithPath: path))
    }
}

extension PatchGrid {
    fileprivate var json: JSONValue { [.int(time), .int(height), .int(width)] }
}
