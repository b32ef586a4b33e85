public import Foundation

/// A model that can be served, as it was found.
public struct CatalogEntry: Sendable, Equatable {
    /// The folder's name, a file's name without `.gguf`, or `org/name` in the Hugging Face cache.
    public let id: String
    /// Folder or file to open.
    public let path: String
    /// Time of the last change of its files.
    public let created: Date
    /// `user`, or `huggingface` for the cache.
    public let ownedBy: String
    /// Whether config and weights are there, as far as names tell; without weights text can be rendered and
    /// tokenised.
    public let hasWeights: Bool

    /// Describes a model.
    public init(id: String, path: String, created: Date, ownedBy: String, hasWeights: Bool) {
        self.id = id
        self.path = path
        self.created = created
        self.ownedBy = ownedBy
        self.hasWeights = hasWeights
    }
}

/// Finds models in folders and in the Hugging Face cache.
///
/// Looks at names only, opens nothing.
public enum ModelCatalog {
    /// All models, by id.
    ///
    /// Of equal ids the first counts: `named` (id → path), folders in their order, then the cache.
    public static func scan(
        named: [String: String] = [:],
        directories: [String],
        huggingFaceHome: String?
    ) -> [CatalogEntry] {
        // A path that leads nowhere is listed, so that its model's requests say what is missing.
        var found = named.map { id, path in
            CatalogEntry(
                id: id,
                path: path,
                created: changed(path),
                ownedBy: "user",
                hasWeights: true
            )
        }
        for directory in directories {
            for name in names(in: directory) where isPlain(name) {
                if let entry = entry(id: name, path: "\(directory)/\(name)", ownedBy: "user") {
                    found.append(entry)
                }
            }
        }
        if let home = huggingFaceHome { found += cached(in: "\(home)/hub") }
        var ids: Set<String> = []
        return found.filter { ids.insert($0.id).inserted }.sorted { $0.id < $1.id }
    }

    /// Paths of models in the folders whose names cannot be ids: with spaces, letters beyond ASCII, or other
    /// signs that would not travel unchanged through addresses, shells and logs.
    ///
    /// Such a model is served under an id that the settings give to its path.
    public static func unnamed(
        named: [String: String] = [:],
        directories: [String]
    ) -> [String] {
        let known = Set(named.values)
        return directories.flatMap { directory in
            names(in: directory).filter { !isPlain($0) && !$0.hasPrefix(".") }
                .map { "\(directory)/\($0)" }
                .filter { path in
                    let name = String(path.dropFirst(directory.count + 1))
                    return !known.contains(path)
                        && entry(id: name, path: path, ownedBy: "user") != nil
                }
        }
    }

    private static func names(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }

    /// Letters, digits, `.`, `_` and `-`, not beginning with a dot.
    private static func isPlain(_ name: String) -> Bool {
        !name.hasPrefix(".")
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
                default: false
                }
            }
    }

    private static func entry(id: String, path: String, ownedBy: String) -> CatalogEntry? {
        let manager = FileManager.default
        var isFolder: ObjCBool = false
        guard manager.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
        if !isFolder.boolValue {
            guard id.hasSuffix(".gguf"), id.count > 5 else { return nil }
            return CatalogEntry(
                id: String(id.dropLast(5)),
                path: path,
                created: changed(path),
                ownedBy: ownedBy,
                hasWeights: true
            )
        }
        let files = names(in: path)
        let ggufs = files.filter { $0.hasSuffix(".gguf") }
        let hasConfig = files.contains("config.json")
        guard hasConfig || ggufs.count == 1 else { return nil }
        let newest = (hasConfig ? ["config.json"] : ggufs).map { changed("\(path)/\($0)") }.max()
        return CatalogEntry(
            id: id,
            path: path,
            created: newest ?? changed(path),
            ownedBy: ownedBy,
            hasWeights: hasConfig
                ? isThere("\(path)/config.json") && hasWeights(files, in: path)
                : isThere("\(path)/\(ggufs[0])")
        )
    }

    /// Follows links: those of the Hugging Face cache may lead nowhere.
    private static func isThere(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: path)
    }

    private static func hasWeights(_ files: [String], in folder: String) -> Bool {
        func has(_ name: String) -> Bool { files.contains(name) && isThere("\(folder)/\(name)") }
        if has("model.safetensors") || has("model.pt") { return true }
        guard has("model.safetensors.index.json") else { return false }
        let parts = files.filter { $0.hasSuffix(".safetensors") }
        // `model-00001-of-00003.safetensors` tells how many there are.
        let count = parts.lazy.compactMap { part in
            part.dropLast(12).components(separatedBy: "-of-").last.flatMap { Int($0) }
        }.first
        return !parts.isEmpty && parts.count >= count ?? 1
            && parts.allSatisfy { isThere("\(folder)/\($0)") }
    }

    private static func changed(_ path: String) -> Date {
        let resolved = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: resolved)
        return attributes?[.modificationDate] as? Date ?? Date(timeIntervalSince1970: 0)
    }

    /// `models--org--name/refs/main` names the snapshot that counts; else the newest one.
    private static func cached(in hub: String) -> [CatalogEntry] {
        var found: [CatalogEntry] = []
        for name in names(in: hub) where name.hasPrefix("models--") {
            let parts = name.dropFirst("models--".count).components(separatedBy: "--")
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && isPlain($0) }) else {
                continue
            }
            let folder = "\(hub)/\(name)"
            let reference =
                (try? String(contentsOfFile: "\(folder)/refs/main", encoding: .utf8)) ?? ""
            let wanted = reference.trimmingCharacters(in: .whitespacesAndNewlines)
            let snapshots = names(in: "\(folder)/snapshots").filter(isPlain)
            let snapshot =
                snapshots.contains(wanted)
                ? wanted
                : snapshots.max {
                    changed("\(folder)/snapshots/\($0)") < changed("\(folder)/snapshots/\($1)")
                }
            guard let snapshot else { continue }
            let path = "\(folder)/snapshots/\(snapshot)"
            if let entry = entry(
                id: parts.joined(separator: "/"),
                path: path,
                ownedBy: "huggingface"
            ) {
                found.append(entry)
            }
        }
        return found
    }
}
