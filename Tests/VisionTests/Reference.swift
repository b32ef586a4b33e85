// Lines of Tests/Fixtures/vision/geometry.txt, written by make.py beside it from transformers' own functions.

import Foundation

func references(_ kind: String) throws -> [[String]] {
    let file = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures/vision/geometry.txt")
    return try String(contentsOf: file, encoding: .utf8)
        .split(separator: "\n")
        .map { $0.split(separator: " ").map(String.init) }
        .filter { $0[0] == kind }
}

func integer(_ text: String) throws -> Int {
    struct NotAnInteger: Error { let text: String }
    guard let value = Int(text) else { throw NotAnInteger(text: text) }
    return value
}

/// FNV-1a over whole values.
func hash(_ values: [Int]) -> UInt64 {
    values.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
