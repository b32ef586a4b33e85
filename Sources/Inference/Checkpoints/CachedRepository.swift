internal import Foundation

/// What lies on the disk under one name: a model, or a data set of the Hugging Face cache.
public struct CachedRepository: Sendable, Equatable {
    /// `org/name` in the cache, else the model's id.
    public let id: String
    /// `model` or `dataset`.
    public let kind: String
    /// Bytes of all files.
    public let bytes: Int

    /// The models of a catalogue, and the data sets of a Hugging Face cache, by kind and id.
    public static func list(_ models: [CatalogEntry], huggingFaceHome: String?)
        -> [CachedRepository]
    {
        var found = models.map { entry in
            CachedRepository(id: entry.id, kind: "model", bytes: size(of: root(of: entry)))
        }
        guard let hub = huggingFaceHome.map({ "\($0)/hub" }) else { return found }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: hub)) ?? []
        for name in names.sorted() where name.hasPrefix("datasets--") {
            let parts = name.dropFirst("datasets--".count).components(separatedBy: "--")
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else { continue }
            found.append(
                CachedRepository(
                    id: parts.joined(separator: "/"),
                    kind: "dataset",
                    bytes: size(of: "\(hub)/\(name)")
                )
            )
        }
        return found
    }

    /// A snapshot's files are links into its repository, which is what takes room.
    private static func root(of entry: CatalogEntry) -> String {
        guard entry.ownedBy == "huggingface" else { return entry.path }
        return URL(fileURLWithPath: entry.path).deletingLastPathComponent()
            .deletingLastPathComponent().path
    }

    /// Entries that are looked at; a repository has some hundred.
    private static let mostFiles = 100_000

    /// Bytes of a file, or of the files below a folder; links inside count nothing.
    private static func size(of place: String) -> Int {
        let manager = FileManager.default
        let path = URL(fileURLWithPath: place).resolvingSymlinksInPath().path
        func bytes(_ file: String) -> Int? {
            guard let attributes = try? manager.attributesOfItem(atPath: file),
                attributes[.type] as? FileAttributeType == .typeRegular
            else { return nil }
            return attributes[.size] as? Int
        }
        if let file = bytes(path) { return file }
        guard let walk = manager.enumerator(atPath: path) else { return 0 }
        var sum = 0
        var seen = 0
        while let name = walk.nextObject() as? String, seen < mostFiles {
            sum += bytes("\(path)/\(name)") ?? 0
            seen += 1
        }
        return sum
    }
}
