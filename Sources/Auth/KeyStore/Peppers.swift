// The secret that digests of keys are made with. It lives apart from keys.db, so that neither the
// database nor its backup is enough to confirm a guessed key. The file has one line a version,
// `v1:<64 hex digits>`; new keys use the newest, and every version in the file is accepted.

import Crypto
import Glibc

/// The versions of the pepper.
struct Peppers: Sendable {
    private let keys: [Int: SymmetricKey]
    /// Version that new keys are made with.
    let newest: Int

    /// Reads and checks a pepper file; `nil` where there is none.
    init?(reading files: StateFiles) throws(KeyStoreError) {
        let path = files.pepper
        let found = try StateFiles.checkPrivate(
            path,
            isFolder: false,
            groupMayRead: files.pepperIsCredential
        )
        guard found else { return nil }
        let text = String(decoding: try Self.contents(of: path), as: UTF8.self)
        var keys: [Int: SymmetricKey] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].first == "v", let version = Int(parts[0].dropFirst()),
                version > 0, keys[version] == nil, let bytes = Self.bytes(hex: parts[1])
            else {
                throw .pepper(
                    path: path,
                    problem: "is malformed; restore it from your backup of it"
                )
            }
            keys[version] = SymmetricKey(data: bytes)
        }
        guard let newest = keys.keys.max() else {
            throw .pepper(path: path, problem: "is empty; restore it from your backup of it")
        }
        self.keys = keys
        self.newest = newest
    }

    /// Makes a pepper file with one random version, unless another process was quicker.
    static func create(_ files: StateFiles) throws(KeyStoreError) {
        let digits = Array("0123456789abcdef".utf8)
        let hex = try KeyFormat.randomBytes(32).flatMap {
            [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
        }
        let suffix = try KeyFormat.randomBytes(8).reduce(into: "") { $0 += String($1, radix: 16) }
        let temporary = files.pepper + "." + suffix
        try PrivateFile.write(
            Array("v1:".utf8) + hex + Array("\n".utf8),
            to: temporary,
            mode: 0o400
        )
        defer { unlink(temporary) }
        if files.pepper.hasPrefix(files.state + "/") { try files.adopt(temporary) }
        // A link, not a rename: it never replaces a pepper that is already there.
        guard link(temporary, files.pepper) == 0 || errno == EEXIST else {
            throw StateFiles.failure("make", files.pepper)
        }
        let folder = files.pepper.lastIndex(of: "/").map { String(files.pepper[..<$0]) } ?? "."
        try StateFiles.syncFolder(folder.isEmpty ? "/" : folder)
    }

    /// HMAC-SHA-256 of a whole key; `nil` if the version is not in the file.
    func digest(of key: String, version: Int) -> [UInt8]? {
        keys[version].map {
            Array(HMAC<SHA256>.authenticationCode(for: Array(key.utf8), using: $0))
        }
    }

    /// Compares a key with a stored digest in constant time; false if the version is not in the
    /// file.
    func confirms(_ key: [UInt8], digest: [UInt8], version: Int) -> Bool {
        // An unknown version costs the same as a known one.
        let secret = keys[version] ?? keys[newest]
        guard let secret else { return false }
        let equal = HMAC<SHA256>.isValidAuthenticationCode(
            digest,
            authenticating: key,
            using: secret
        )
        return equal && keys[version] != nil
    }

    /// A value by which a database recognises its pepper; it tells nothing about it.
    func fingerprint(version: Int) -> [UInt8]? {
        digest(of: "torchgate: is this the pepper of these keys?", version: version)
    }

    private static func contents(of path: String) throws(KeyStoreError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw StateFiles.failure("read", path) }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4097)
        let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw StateFiles.failure("read", path) }
        guard count <= 4096 else { throw .pepper(path: path, problem: "is longer than 4096 bytes") }
        return Array(bytes.prefix(count))
    }

    private static func bytes(hex: Substring) -> [UInt8]? {
        let digits = hex.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard hex.utf8.count == 64, digits.count == 64 else { return nil }
        return (0..<32).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
    }
}
