public import Foundation
internal import JSON

/// Writes a safetensors file: for the parity tool and for tests.
public struct SafetensorsWriter {
    private var tensors: [(name: String, format: TensorFormat, shape: [Int], bytes: [UInt8])] = []

    /// A file without tensors.
    public init() {}

    /// Adds a tensor; `values` are in memory order, slowest side first.
    public mutating func add<T: BitwiseCopyable>(
        _ name: String,
        _ format: TensorFormat,
        shape: [Int],
        _ values: [T]
    ) {
        let bytes = values.withUnsafeBytes { Array($0) }
        precondition(format.byteCount(of: shape) == bytes.count, "values must fill the shape")
        tensors.append((name, format, shape, bytes))
    }

    /// The file's bytes.
    public func data() -> Data {
        var header = JSONObject()
        var offset = 0
        for tensor in tensors {
            header[tensor.name] = [
                "dtype": .string(tensor.format.rawValue),
                "shape": .array(tensor.shape.map(JSONValue.int)),
                "data_offsets": [.int(offset), .int(offset + tensor.bytes.count)],
            ]
            offset += tensor.bytes.count
        }
        var text = JSONValue.object(header).bytes()
        text += repeatElement(0x20, count: (8 - text.count % 8) % 8)
        var data = Data()
        withUnsafeBytes(of: UInt64(text.count).littleEndian) { data.append(contentsOf: $0) }
        data.append(contentsOf: text)
        for tensor in tensors { data.append(contentsOf: tensor.bytes) }
        return data
    }
}
