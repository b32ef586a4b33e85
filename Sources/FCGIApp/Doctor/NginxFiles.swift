internal import Foundation
internal import Nginx

extension Doctor {
    /// nginx's program and what it says of its configuration.
    func nginxProgramAndFiles() -> [Finding] {
        let program = nginxVersion()
        guard program.result != .failure else {
            return [program, .skipped("nginx configuration", "there is no nginx to read it")]
        }
        return [program, nginxFiles()]
    }

    package func nginxVersion() -> Finding {
        let name = "nginx"
        let mend = "apt-get install nginx-light"
        guard access(nginxProgram, X_OK) == 0 else {
            return .failure(name, "\(nginxProgram): \(systemMessage())", mend: mend)
        }
        guard let run = ChildProgram.run([nginxProgram, "-v"], seconds: 10), run.status == 0,
            let found = run.output.split(separator: "/").last
        else { return .failure(name, "\(nginxProgram) -v says no version", mend: mend) }
        let version = found.prefix { $0.isNumber || $0 == "." }
        let numbers = version.split(separator: ".").compactMap { Int($0) }
        guard let major = numbers.first, numbers.count > 1 else {
            return .warning(name, "its version is not understood: \(found)", mend: mend)
        }
        guard major > 1 || numbers[1] >= 22 else {
            return .failure(name, "\(nginxProgram) is \(version)", mend: "install 1.22 or later")
        }
        return .ok(name, "\(nginxProgram) \(version)")
    }

    /// Lets nginx test the rendered files in a folder that ends with the check.
    ///
    /// Logs, pid and temporary files are led there, so that nothing of the real ones is touched.
    package func nginxFiles() -> Finding {
        let name = "nginx configuration"
        guard isRoot || !isProduction else {
            return .skipped(name, "only root may read the certificate's key and bind low ports")
        }
        var template = Array("\(NSTemporaryDirectory())/torchgate-doctor.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            return .failure(
                name,
                "no temporary folder: \(systemMessage())",
                mend: "free space in \(NSTemporaryDirectory()), or set TMPDIR"
            )
        }
        let path = template.dropLast().map(UInt8.init(bitPattern:))
        let folder = String(decoding: path, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var tested = nginx
        tested.runDirectory = folder
        tested.bodyDirectory = "\(folder)/body"
        tested.accessLog = "\(folder)/access"
        tested.errorLog = "stderr"
        do {
            for file in tested.render(folder: folder) {
                let place = URL(fileURLWithPath: "\(folder)/\(file.name)")
                try Data(file.content.utf8).write(to: place)
            }
        } catch {
            return .failure(name, "\(folder): \(error)", mend: "free space, or set TMPDIR")
        }
        let words = [
            nginxProgram, "-t", "-q", "-p", folder, "-c", "\(folder)/nginx.conf", "-e", "stderr",
        ]
        guard let run = ChildProgram.run(words, seconds: 20), !run.isLate else {
            return .failure(name, "nginx -t did not end", mend: "look at the names' resolver")
        }
        guard run.status == 0 else {
            // nginx's time and process are of no use here.
            let line = run.line(with: "[emerg]") ?? run.output
            let said = line.components(separatedBy: ": ").dropFirst().joined(separator: ": ")
            return .failure(
                name,
                (said.isEmpty ? line : said).replacingOccurrences(of: folder, with: "nginx"),
                mend: "change the setting that nginx names (server.*, nginx.*)"
            )
        }
        return .ok(name, "nginx takes the files of these settings")
    }
}
