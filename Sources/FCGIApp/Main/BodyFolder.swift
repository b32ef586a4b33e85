internal import Foundation
internal import Settings

/// The folder of request bodies where `nginx.body_dir` names none.
///
/// In production the run directory is on tmpfs. In development it is on a disk, where prompts must not
/// lie, so that the folder is a private one under /dev/shm, named after the run directory.
struct BodyFolder {
    let path: String
    private let owners: Set<uid_t>
    private let isShared: Bool

    init(_ settings: Settings) {
        let run = URL(fileURLWithPath: settings.runDirectory).standardizedFileURL
        let memory = "/dev/shm"
        isShared = settings.server.mode == .development && access(memory, W_OK | X_OK) == 0
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in run.path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let name = String(
            run.lastPathComponent.unicodeScalars.filter {
                $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil)
            }
            .prefix(40).map(Character.init)
        )
        path =
            isShared
            ? "\(memory)/torchgate-\(name)-\(getuid())-\(String(hash, radix: 16))"
            : "\(settings.runDirectory)/nginx-body"
        // nginx gives the folder to its workers' user.
        let worker = getpwnam(settings.nginx.user).map { $0.pointee.pw_uid }
        owners = [getuid(), worker ?? getuid()]
    }

    /// Makes it empty and private.
    ///
    /// Anybody may make files under /dev/shm: what somebody else put there is an error, not ours to use.
    func make() throws {
        guard isShared else { return }
        remove()
        guard mkdir(path, 0o700) == 0 else { throw SystemError("cannot make \(path)") }
    }

    /// Removes it with what a run that was killed has left.
    func remove() {
        var info = stat()
        guard isShared, lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR,
            owners.contains(info.st_uid)
        else { return }
        try? FileManager.default.removeItem(atPath: path)
    }
}
