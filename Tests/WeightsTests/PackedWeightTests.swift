import CTorch
import Foundation
import Testing
import Torch

/// Weights that stay quantised beside the same ones decoded.
///
/// Serialised: the number of threads is the process's.
@Suite(.serialized) struct PackedWeightTests {
    /// Blocks of a format's fixture in another order each time: `rows` rows of `columns` elements.
    static func bytes(_ format: Int, rows: Int, columns: Int, seed: Int = 0) throws -> [UInt8] {
        let name = DecodingTests.formats[format].name
        let blocks = try #require(DecodingTests().fixture()["\(name).blocks"])
        let size = format < 5 ? blocks.count / 32 : blocks.count / 4
        let elements = format < 5 ? 32 : 256
        return (0..<rows * columns / elements).flatMap { index in
            let block = (index * 7 + index / 5 + seed) % (blocks.count / size)
            return blocks[block * size..<(block + 1) * size]
        }
    }

    static func packed(_ parts: [(format: Int, rows: Int, bytes: [UInt8])], columns: Int)
        -> PackedWeight
    {
        let weight = PackedWeight(rows: parts.reduce(0) { $0 + $1.rows }, columns: columns)
        for part in parts {
            let code = DecodingTests.formats[part.format].code
            let count = Int64(part.bytes.count)
            tg_pack_rows(weight.handle, Int64(part.rows), code, part.bytes, count, 0)
        }
        return weight
    }

    static func dense(_ format: Int, rows: Int, columns: Int, _ bytes: [UInt8], heads: Int = 0)
        -> Tensor
    {
        let out = Tensor.empty([rows, columns], .float32)
        let code = DecodingTests.formats[format].code
        tg_decode_rows(
            out.handle,
            0,
            Int64(rows),
            Int64(columns),
            code,
            bytes,
            Int64(bytes.count),
            Int64(heads)
        )
        return out
    }

    /// Values around zero of very different size by column.
    static func inputs(_ rows: Int, _ columns: Int) -> [Float] {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        return (0..<rows * columns).map { index in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            let unit = Float(Int32(truncatingIfNeeded: state >> 32)) / 2_147_483_648
            return unit * (index % 97 == 0 ? 30 : 1)
        }
    }

    @Test(arguments: 0..<8) func `rows come back as gguf-py decodes them`(_ format: Int) throws {
        let (rows, columns) = (37, 512)
        let bytes = try Self.bytes(format, rows: rows, columns: columns)
        try Torch.checked {
            let weight = Self.packed([(format, rows, bytes)], columns: columns)
            let expected = Self.dense(format, rows: rows, columns: columns, bytes)
            #expect(weight.shape == [rows, columns])
            // Rows beyond the last whole tile of 16 cost memory, nothing else does.
            let tiles = bytes.count * 48 / rows
            #expect(weight.byteCount >= tiles && weight.byteCount < tiles * 21 / 20)
            let ids = (0..<Int32(rows)).reversed().map { $0 }
            for dtype in [Tensor.DType.float32, .bfloat16] {
                let order = expected.takingRows(ids.map(Int.init))
                #expect(weight.rows(ids, as: dtype).floats == order.to(dtype).floats)
            }
        }
    }

    /// An input's block of 32 is rounded to multiples of its largest / 127: each by at most half of it.
    @Test(arguments: 0..<8, [0, 1, 2, 3])
    func `products differ from exact ones by no more than rounding the inputs explains`(
        _ format: Int,
        _ level: Int
    ) throws {
        defer { Torch.limitInstructionSet(to: 3) }
        Torch.limitInstructionSet(to: level)
        let (rows, columns, count) = (37, 512, 19)
        let bytes = try Self.bytes(format, rows: rows, columns: columns)
        let values = Self.inputs(count, columns)
        let x = Tensor(values, shape: [count, columns])
        try Torch.checked {
            let weight = Self.packed([(format, rows, bytes)], columns: columns)
            let found = x.linear(weight, as: .float32).floats
            let dense = Self.dense(format, rows: rows, columns: columns, bytes).floats
            var worst = 0.0
            for row in 0..<count {
                let steps = stride(from: 0, to: columns, by: 32).map { block in
                    values[row * columns + block..<row * columns + block + 32]
                        .reduce(0) { max($0, abs($1)) } / 127
                }
                for output in 0..<rows {
                    var (exact, bound) = (0.0, 0.0)
                    for column in 0..<columns {
                        let w = Double(dense[output * columns + column])
                        let input = values[row * columns + column]
                        exact += w * Double(input)
                        // Sums in single precision: minima and codes are larger than what is left of them.
                        bound += abs(w) * Double(steps[column / 32]) * 0.5001
                        bound += 3e-5 * (abs(w) + 0.01) * Double(abs(input))
                    }
                    worst = max(worst, abs(Double(found[row * rows + output]) - exact) / bound)
                }
            }
            #expect(worst <= 1)
            // … and rounding is what it does: no bound is met by accident of a far too small error.
            #expect(worst > 0.001)
        }
    }

    @Test(arguments: 0..<8, [0, 1, 2, 3])
    func `a row has the same bits alone and among any number of rows`(
        _ format: Int,
        _ level: Int
    ) throws {
        defer {
            Torch.limitInstructionSet(to: 3)
            Torch.start(threads: 2)
        }
        Torch.limitInstructionSet(to: level)
        let (rows, columns, count) = (100, 256, 150)
        let bytes = try Self.bytes(format, rows: rows, columns: columns)
        for dtype in [Tensor.DType.float32, .bfloat16] {
            try Torch.checked {
                let weight = Self.packed([(format, rows, bytes)], columns: columns)
                let x = Tensor(Self.inputs(count, columns), shape: [count, columns]).to(dtype)
                Torch.start(threads: 1)
                let alone = (0..<count).flatMap {
                    x.takingRows([$0]).linear(weight, as: dtype).floats
                }
                for threads in [1, 2] {
                    Torch.start(threads: threads)
                    for together in [2, 3, 4, 5, 6, 7, 8, 9, 16, 65, count] {
                        let found = x.rows(0..<together).linear(weight, as: dtype).floats
                        #expect(found == Array(alone.prefix(together * rows)), "\(together) rows")
                    }
                }
            }
        }
    }

    @Test func `weights of several kinds stand below one another, with a bias`() throws {
        let columns = 256
        let kinds = [(format: 1, rows: 20), (5, 16), (7, 7), (4, 40)]
        let parts = try kinds.map {
            (format: $0.0, rows: $0.1, bytes: try Self.bytes($0.0, rows: $0.1, columns: columns))
        }
        try Torch.checked {
            let weight = Self.packed(parts, columns: columns)
            let x = Tensor(Self.inputs(5, columns), shape: [5, columns])
            let bias = (0..<83).map { Float($0) - 40 }
            let found = x.linear(weight, bias: Tensor(bias, shape: [83]), as: .float32).floats
            var first = 0
            for part in parts {
                let alone = x.linear(Self.packed([part], columns: columns), as: .float32).floats
                for row in 0..<5 {
                    for output in 0..<part.rows {
                        let sum = alone[row * part.rows + output] + bias[first + output]
                        #expect(found[row * 83 + first + output] == sum)
                    }
                }
                first += part.rows
            }
            let narrow = x.linear(weight, bias: Tensor(bias, shape: [83]), as: .bfloat16)
            #expect(narrow.floats == Tensor(found, shape: [5, 83]).to(.bfloat16).floats)
        }
    }

    @Test func `rotary rows come out as halves`() throws {
        let bytes = try Self.bytes(1, rows: 48, columns: 64)
        try Torch.checked {
            let weight = PackedWeight(rows: 48, columns: 64)
            tg_pack_rows(weight.handle, 48, TG_FORMAT_Q4_1, bytes, Int64(bytes.count), 4)
            let expected = Self.dense(1, rows: 48, columns: 64, bytes, heads: 4).floats
            #expect(weight.rows((0..<48).map { $0 }, as: .float32).floats == expected)
            #expect(Self.dense(1, rows: 48, columns: 64, bytes).floats != expected)
        }
    }

    @Test func `what is not a number shows in its own row only`() throws {
        let bytes = try Self.bytes(1, rows: 16, columns: 64)
        for broken in [Float.nan, .infinity, -.infinity] {
            var values = Self.inputs(3, 64)
            values[64 + 40] = broken
            try Torch.checked {
                let weight = Self.packed([(1, 16, bytes)], columns: 64)
                let out = Tensor(values, shape: [3, 64]).linear(weight, as: .float32).floats
                let broken = out.map { !$0.isFinite }
                #expect(broken == (0..<48).map { $0 / 16 == 1 })
            }
        }
    }

    @Test func `inputs of zeros, and tiny ones, make zeros`() throws {
        let bytes = try Self.bytes(4, rows: 16, columns: 64)
        try Torch.checked {
            let weight = Self.packed([(4, 16, bytes)], columns: 64)
            for value in [Float(0), .leastNonzeroMagnitude, 1e-38] {
                let x = Tensor([Float](repeating: value, count: 64), shape: [1, 64])
                #expect(x.linear(weight, as: .float32).floats.allSatisfy { abs($0) < 1e-30 })
            }
        }
    }

    @Test func `what does not fit is refused`() throws {
        let bytes = try Self.bytes(4, rows: 4, columns: 64)
        let x = Tensor.zeros([1, 64], .float32)
        let wrong: [(PackedWeight) -> Void] = [
            { tg_pack_rows($0.handle, 5, TG_FORMAT_Q8_0, bytes, 340, 0) },  // more rows than it has
            { tg_pack_rows($0.handle, 4, TG_FORMAT_Q8_0, bytes, 271, 0) },  // too few bytes
            { tg_pack_rows($0.handle, 4, TG_FORMAT_Q4_K, bytes, 576, 0) },  // no whole blocks
            { tg_pack_rows($0.handle, 4, TG_FORMAT_F16, bytes, 512, 0) },  // not quantised
            { tg_pack_rows($0.handle, 4, TG_FORMAT_Q8_0, bytes, 272, 3) },  // no such heads
            { _ = x.linear($0, as: .float32) },  // rows are missing
            { _ = $0.rows([0], as: .float32) },
        ]
        for fails in wrong {
            #expect(throws: TorchError.self) {
                try Torch.checked { fails(PackedWeight(rows: 4, columns: 64)) }
            }
        }
        let weight = Self.packed([(4, 4, bytes)], columns: 64)
        let bias = Tensor.zeros([3], .float32)
        let later: [() -> Void] = [
            { _ = weight.rows([4], as: .float32) },
            { _ = weight.rows([-1], as: .float32) },
            { _ = weight.rows([0], as: .float16) },
            { _ = Tensor.zeros([1, 32], .float32).linear(weight, as: .float32) },
            { _ = Tensor.zeros([1, 64], .float16).linear(weight, as: .float32) },
            { _ = x.linear(weight, bias: bias, as: .float32) },
        ]
        for fails in later {
            #expect(throws: TorchError.self) { try Torch.checked(fails) }
        }
    }
}
