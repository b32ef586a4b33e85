internal import Foundation

/// Who listens at TCP ports, as /proc tells.
package enum Listeners {
    struct Holder: Equatable {
        let pid: Int
        let name: String
    }

    /// The processes that listen at a port; empty where there are none or they may not be seen.
    static func holders(ofPort port: Int) -> [Holder] {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].compactMap {
            try? String(contentsOfFile: $0, encoding: .utf8)
        }
        let inodes = Set(tables.flatMap { Self.inodes(ofPort: port, table: $0) })
        guard !inodes.isEmpty else { return [] }
        let manager = FileManager.default
        let processes = (try? manager.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.compactMap(Int.init).sorted().compactMap { pid in
            let folder = "/proc/\(pid)/fd"
            let descriptors = (try? manager.contentsOfDirectory(atPath: folder)) ?? []
            let isHolder = descriptors.contains { descriptor in
                let target = try? manager.destinationOfSymbolicLink(
                    atPath: "\(folder)/\(descriptor)"
                )
                return target.map { inodes.contains($0) } ?? false
            }
            guard isHolder else { return nil }
            let name = (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? "?"
            return Holder(pid: pid, name: name.trimmingCharacters(in: .newlines))
        }
    }

    /// `socket:[inode]` of each listening line of a table (proc(5), /proc/net/tcp).
    package static func inodes(ofPort port: Int, table: String) -> [String] {
        table.split(separator: "\n").dropFirst().compactMap { line in
            let words = line.split(separator: " ")
            // 0A is TCP_LISTEN.
            guard words.count > 9, words[3] == "0A",
                let local = words[1].split(separator: ":").last, Int(local, radix: 16) == port
            else { return nil }
            return "socket:[\(words[9])]"
        }
    }
}
