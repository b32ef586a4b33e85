import Foundation
import Glibc
import KeyStore

/// A state directory of a test's own; all end with the process, because a store follows its folder
/// longer than the last mention of this value.
final class TemporaryState: Sendable {
    private static let root: String = {
        atexit { try? FileManager.default.removeItem(atPath: TemporaryState.root) }
        let path = NSTemporaryDirectory() + "/keystore-tests-\(getpid())"
        mkdir(path, 0o755)
        return path
    }()
    let path: String
    var files: StateFiles { StateFiles(state: path) }

    init() throws {
        path = Self.root + "/" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700]
        )
    }

    func administration() throws -> KeyAdministration {
        try KeyAdministration.open(files, create: true)
    }

    func key(_ name: String = "test") throws -> CreatedKey {
        try administration().create(KeySettings(name: name))
    }

    func server() throws -> KeyStore { try KeyStore.openForServer(files) }

    func mode(_ name: String) -> mode_t {
        var status = stat()
        guard lstat(path + "/" + name, &status) == 0 else { return 0 }
        return status.st_mode & 0o7777
    }
}

/// Whether a condition comes to hold within a time.
func eventually(_ patience: Duration = .seconds(5), _ condition: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + patience
    while ContinuousClock.now < deadline {
        if condition() { return true }
        usleep(1000)
    }
    return condition()
}

extension Authentication {
    var record: KeyRecord? {
        if case .accepted(let record) = self { return record }
        return nil
    }
}
