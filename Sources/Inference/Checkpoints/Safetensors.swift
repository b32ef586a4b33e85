internal import JSON

/// Reads the header of one safetensors file: u64 length, JSON, then the tensors' bytes without gaps.
enum Safetensors {
    /// Bytes of a header.
    static let headerLimit = 100_000_000

    static func entries(of file: MappedFile) throws(CheckpointError) -> [TensorEntry] {
        func fail(_ detail: String) -> CheckpointError {
            CheckpointError(.corrupt, file: file.name, detail)
        }
        guard file.bytes.count >= 8 else { throw fail("is shorter than a header") }
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(headerLimit), let header = file.slice(at: 8, count: Int(length))
        else {
            throw fail("header of \(length) bytes in a file of \(file.bytes.count)")
        }
        let json: JSONValue
        do throws(JSONError) { json = try JSONValue.parse(header) } catch {
            throw fail("header is not JSON: \(error)")
        }
        guard let members = json.object else { throw fail("header is no object") }
        let data = file.bytes.count - 8 - Int(length)
        var entries: [TensorEntry] = []
        var ranges: [(Int, Int)] = []
        for (name, value) in members.members where name != "__metadata__" {
            guard let word = value["dtype"]?.string else {
                throw fail("tensor '\(name)' has no dtype")
            }
            guard let format = TensorFormat(rawValue: word), format.blockValues == 1 else {
                throw CheckpointError(
                    .unsupported,
                    file: file.name,
                    "tensor '\(name)' has the dtype \(word)"
                )
            }
            guard let sides = value["shape"]?.array?.map(\.int), sides.count <= 8,
                !sides.contains(where: { $0 == nil })
            else { throw fail("tensor '\(name)' has no proper shape") }
            let shape = sides.compactMap { $0 }
            guard let ends = value["data_offsets"]?.array?.map(\.int), ends.count == 2,
                let start = ends[0], let end = ends[1], start >= 0, start <= end, end <= data
            else { throw fail("tensor '\(name)' lies outside the file's \(data) bytes of data") }
            guard let expected = format.byteCount(of: shape), expected == end - start else {
                throw fail("tensor '\(name)' of shape \(shape) has \(end - start) bytes")
            }
            guard let bytes = file.slice(at: 8 + Int(length) + start, count: end - start) else {
                throw fail("tensor '\(name)' lies outside the file")
            }
            ranges.append((start, end))
            entries.append(
                TensorEntry(
                    name: name,
                    format: format,
                    shape: shape,
                    bytes: bytes,
                    ropePermutedHeads: nil,
                    file: file.name
                )
            )
        }
        // The format allows neither overlaps nor holes.
        var next = 0
        for (start, end) in ranges.sorted(by: { $0 < $1 }) {
            guard start == next else {
                throw fail("tensors overlap or leave a hole at byte \(next)")
            }
            next = end
        }
        guard next == data else { throw fail("\(data - next) bytes behind the last tensor") }
        return entries
    }
}
