// Lines of Tests/Fixtures/media/expected.txt, written by make.py beside it.

import Foundation

enum Fixture {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/media")

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: folder.appending(path: name)))
    }

    static func lines(_ kind: String) throws -> [[String]] {
        try String(contentsOf: folder.appending(path: "expected.txt"), encoding: .utf8)
            .split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
            .filter { $0[0] == kind }
    }
}

/// FNV-1a, 64 bits.
func fnv(_ bytes: some Sequence<UInt8>) -> String {
    String(bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
}

/// Largest difference of two pictures; 256 where their sizes differ.
func distance(_ a: ArraySlice<UInt8>, _ b: ArraySlice<UInt8>) -> Int {
    guard a.count == b.count else { return 256 }
    return zip(a, b).map { abs(Int($0) - Int($1)) }.max() ?? 0
}
