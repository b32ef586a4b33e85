internal import Checkpoints
internal import Foundation
public import JSON
internal import OpenAI
public import Settings

/// What `torchgate render` prints.
///
/// A chat request as the engine would get it. No engine, no weights.
public enum Rendering {
    /// Renders a request for a model's id, folder or file.
    /// - Throws: an error whose description says why the request cannot be rendered.
    public static func render(model: String, request: JSONValue, settings: Settings) throws
        -> JSONValue
    {
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
            entry = try readable { () throws(APIError) in try library.entry(named: model) }
        }
        return try readable { () throws(APIError) in
            let served = try library.read(entry)
            let decoded = try ChatCompletionRequest.decode(request)
            let prompt = try served.template.prompt(
                decoded.conversation,
                clock: templateClock(),
                seconds: settings.limits.templateTimeout
            )
            return [
                "prompt": .string(prompt.text), "ids": .array(prompt.ids.map { .int(Int($0)) }),
                "image_grid_thw": [], "video_grid_thw": [],
            ]
        }
    }

    /// An error for people.
    public struct Failure: Error, CustomStringConvertible {
        /// Why the request cannot be rendered.
        public let description: String
    }

    private static func readable<T>(_ body: () throws(APIError) -> T) throws -> T {
        do throws(APIError) { return try body() } catch {
            throw Failure(description: "\(error.param.map { "\($0): " } ?? "")\(error.message)")
        }
    }
}
