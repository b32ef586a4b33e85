/// Reads what `torch.save` writes of a dictionary of tensors, and nothing else of Python's pickle format.
///
/// Pickle is a program. This machine knows the instructions of such a dictionary: numbers, texts, tuples,
/// lists, dictionaries, tensors. What it builds are values without behaviour: a name of a class or
/// function that is not in `Global` ends the reading, so that nothing can be called. Values refer to each
/// other by index: no recursion, no cycles to free.
struct TensorPickle {
    /// A stored array: its type, the file inside the archive that holds it, its length.
    struct Storage: Equatable {
        let format: TensorFormat
        let key: String
        let count: Int
    }

    /// A tensor over a storage; sides and strides in elements, slowest first.
    struct Tensor: Equatable {
        let storage: Storage
        let offset: Int
        let shape: [Int]
        let strides: [Int]
    }

    /// What stands on the machine's stack.
    enum Value {
        case mark, none
        case bool(Bool)
        case int(Int)
        case double(Double)
        case text(String)
        case global(Global)
        /// Index into `groups`.
        case tuple(Int)
        /// Lists are of no interest beyond being there.
        case list
        /// Index into `dictionaries`.
        case dictionary(Int)
        case storage(Storage)
        case tensor(Tensor)
    }

    /// The names that may occur.
    enum Global: Equatable {
        case orderedDictionary, rebuildTensor, rebuildParameter
        case storageType(TensorFormat)

        init?(module: String, name: String) {
            switch (module, name) {
            case ("collections", "OrderedDict"): self = .orderedDictionary
            case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
            case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
            case ("torch", let name):
                let formats: [String: TensorFormat] = [
                    "FloatStorage": .float32, "HalfStorage": .float16,
                    "BFloat16Storage": .bfloat16, "DoubleStorage": .float64,
                    "LongStorage": .int64, "IntStorage": .int32, "ShortStorage": .int16,
                    "CharStorage": .int8, "ByteStorage": .uint8, "BoolStorage": .bool,
                ]
                guard let format = formats[name] else { return nil }
                self = .storageType(format)
            default: return nil
            }
        }
    }

    /// Dictionaries as lists of members; keys that are no text are left out.
    private(set) var dictionaries: [[(key: String, value: Value)]] = []
    /// What the program ends with.
    private(set) var result = Value.none

    private static let mostValues = 1 << 20
    private static let mostBytes = 16 << 20
    private static let longestText = 4096
    private static let mostSides = 8

    private let bytes: UnsafeRawBufferPointer
    private let file: String
    private var at = 0
    private var stack: [Value] = []
    private var marks: [Int] = []
    private var memo: [Int: Value] = [:]
    private var groups: [[Value]] = [[]]
    private var made = 0

    /// Runs the program to its end.
    /// - Throws: `CheckpointError`.
    init(_ bytes: UnsafeRawBufferPointer, file: String) throws(CheckpointError) {
        self.bytes = bytes
        self.file = file
        guard bytes.count <= Self.mostBytes else { throw fail("is larger than 16 MiB") }
        while try step() {}
        memo = [:]
    }

    private func fail(_ detail: String) -> CheckpointError {
        CheckpointError(.corrupt, file: file, "the pickle inside \(detail)")
    }

    private func refuse(_ what: String) -> CheckpointError {
        CheckpointError(
            .unsupported,
            file: file,
            "holds \(what); only a dictionary of tensors is read: save the model's state_dict alone"
        )
    }

    // MARK: Reading

    private mutating func take(_ count: Int) throws(CheckpointError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= bytes.count - at else { throw fail("ends early") }
        defer { at += count }
        return UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])
    }

    private mutating func number<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type)
        throws(CheckpointError) -> Int
    {
        let raw = try take(MemoryLayout<T>.size).loadUnaligned(as: T.self)
        guard let value = Int(exactly: T(littleEndian: raw)) else { throw fail("counts too far") }
        return value
    }

    private mutating func text(_ count: Int) throws(CheckpointError) -> String {
        guard count <= Self.longestText else { throw fail("has a text of \(count) bytes") }
        return String(decoding: try take(count), as: UTF8.self)
    }

    private mutating func line() throws(CheckpointError) -> String {
        guard let end = bytes[at...].prefix(Self.longestText + 1).firstIndex(of: 0x0A) else {
            throw fail("has a name without an end")
        }
        defer { at += 1 }
        return try text(end - at)
    }

    // MARK: The stack

    private mutating func push(_ value: Value) throws(CheckpointError) {
        made += 1
        guard made <= Self.mostValues else { throw fail("has more than \(Self.mostValues) values") }
        stack.append(value)
    }

    private mutating func pop() throws(CheckpointError) -> Value {
        guard let value = stack.popLast() else { throw fail("takes from an empty stack") }
        if case .mark = value { throw fail("takes a mark") }
        return value
    }

    private func top() throws(CheckpointError) -> Value {
        guard let value = stack.last else { throw fail("looks at an empty stack") }
        return value
    }

    /// Everything above the last mark, which goes too.
    private mutating func popToMark() throws(CheckpointError) -> [Value] {
        guard let mark = marks.popLast(), mark < stack.count, case .mark = stack[mark] else {
            throw fail("has no mark")
        }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[(mark + 1)...])
    }

    private mutating func pushTuple(_ values: [Value]) throws(CheckpointError) {
        if values.isEmpty { return try push(.tuple(0)) }
        groups.append(values)
        try push(.tuple(groups.count - 1))
    }

    private mutating func pushDictionary() throws(CheckpointError) {
        dictionaries.append([])
        try push(.dictionary(dictionaries.count - 1))
    }

    private mutating func remember(_ index: Int) throws(CheckpointError) {
        guard index >= 0, index < Self.mostValues else { throw fail("remembers too far") }
        memo[index] = try top()
    }

    private mutating func recall(_ index: Int) throws(CheckpointError) {
        guard let value = memo[index] else { throw fail("recalls what was not remembered") }
        try push(value)
    }

    // MARK: Instructions

    /// One instruction; false behind the last.
    private mutating func step() throws(CheckpointError) -> Bool {
        let code = try number(UInt8.self)
        switch code {
        case 0x80:  // PROTO
            let version = try number(UInt8.self)
            guard (2...5).contains(version) else { throw fail("has the version \(version)") }
        case 0x95: _ = try take(8)  // FRAME
        case 0x2E:  // STOP
            result = try pop()
            return false
        case 0x28:  // MARK
            marks.append(stack.count)
            try push(.mark)
        case 0x4E: try push(.none)
        case 0x88: try push(.bool(true))
        case 0x89: try push(.bool(false))
        case 0x4A: try push(.int(try number(Int32.self)))
        case 0x4B: try push(.int(try number(UInt8.self)))
        case 0x4D: try push(.int(try number(UInt16.self)))
        case 0x8A: try push(.int(try long()))
        case 0x47:  // BINFLOAT, big-endian
            let bits = UInt64(bigEndian: try take(8).loadUnaligned(as: UInt64.self))
            try push(.double(Double(bitPattern: bits)))
        case 0x58: try push(.text(try text(try number(UInt32.self))))
        case 0x8C: try push(.text(try text(try number(UInt8.self))))
        case 0x29: try push(.tuple(0))
        case 0x74: try pushTuple(try popToMark())
        case 0x85: try pushTuple(try popped(1))
        case 0x86: try pushTuple(try popped(2))
        case 0x87: try pushTuple(try popped(3))
        case 0x5D: try push(.list)
        case 0x61: _ = try popped(1)  // APPEND
        case 0x65: _ = try popToMark()  // APPENDS
        case 0x7D: try pushDictionary()
        case 0x73: try set(try popped(2))  // SETITEM
        case 0x75: try set(try popToMark())  // SETITEMS
        case 0x71: try remember(try number(UInt8.self))
        case 0x72: try remember(try number(UInt32.self))
        case 0x94: try remember(memo.count)
        case 0x68: try recall(try number(UInt8.self))
        case 0x6A: try recall(try number(UInt32.self))
        case 0x63: try push(.global(try global(module: try line(), name: try line())))
        case 0x93:  // STACK_GLOBAL
            guard case .text(let name) = try pop(), case .text(let module) = try pop() else {
                throw fail("names a class by something else than text")
            }
            try push(.global(try global(module: module, name: name)))
        case 0x51: try push(.storage(try storage(try pop())))  // BINPERSID
        case 0x52: try reduce()
        case 0x62:  // BUILD: a state_dict's versions
            guard case .dictionary = try pop(), case .dictionary = try top() else {
                throw refuse("an object with a state")
            }
        default: throw refuse("the pickle instruction \(code)")
        }
        return true
    }

    /// The last values, in their order.
    private mutating func popped(_ count: Int) throws(CheckpointError) -> [Value] {
        var values: [Value] = []
        for _ in 0..<count { values.insert(try pop(), at: 0) }
        return values
    }

    private mutating func long() throws(CheckpointError) -> Int {
        let count = try number(UInt8.self)
        guard count <= 8 else { throw fail("has a number of \(count) bytes") }
        let digits = try take(count)
        var value = digits.last.map { $0 > 127 ? -1 : 0 } ?? 0
        for digit in digits.reversed() { value = value << 8 | Int(digit) }
        return value
    }

    private func global(module: String, name: String) throws(CheckpointError) -> Global {
        guard let global = Global(module: module, name: name) else {
            throw refuse("an object of \(module.prefix(80)).\(name.prefix(80))")
        }
        return global
    }

    /// Keys and values in turn, into the dictionary below them.
    private mutating func set(_ values: [Value]) throws(CheckpointError) {
        guard case .dictionary(let index) = try top(), values.count % 2 == 0 else {
            throw fail("sets members of something else than a dictionary")
        }
        for pair in stride(from: 0, to: values.count, by: 2) {
            guard case .text(let key) = values[pair] else { continue }
            dictionaries[index].append((key, values[pair + 1]))
        }
    }

    private func members(_ value: Value) throws(CheckpointError) -> [Value] {
        guard case .tuple(let index) = value else { throw fail("has no tuple where one belongs") }
        return groups[index]
    }

    private func numbers(_ value: Value) throws(CheckpointError) -> [Int] {
        let members = try members(value)
        guard members.count <= Self.mostSides else { throw fail("has too many sides") }
        var numbers: [Int] = []
        for member in members {
            guard case .int(let number) = member, number >= 0 else {
                throw fail("has sides that are no sizes")
            }
            numbers.append(number)
        }
        return numbers
    }

    /// `('storage', torch.FloatStorage, '0', 'cpu', 16384)`.
    private func storage(_ value: Value) throws(CheckpointError) -> Storage {
        let parts = try members(value)
        guard parts.count == 5, case .text("storage") = parts[0],
            case .global(.storageType(let format)) = parts[1], case .text(let key) = parts[2],
            case .text = parts[3], case .int(let count) = parts[4], count >= 0
        else { throw refuse("a reference to something else than a storage") }
        return Storage(format: format, key: key, count: count)
    }

    /// A call of one of the three functions that make a dictionary of tensors.
    private mutating func reduce() throws(CheckpointError) {
        let arguments = try members(try pop())
        guard case .global(let function) = try pop() else { throw fail("calls something unnamed") }
        switch function {
        case .orderedDictionary:
            guard arguments.isEmpty else { throw refuse("a dictionary made of something") }
            try pushDictionary()
        case .rebuildTensor:
            guard (6...7).contains(arguments.count), case .storage(let storage) = arguments[0],
                case .int(let offset) = arguments[1], offset >= 0
            else { throw fail("has a tensor without its parts") }
            let shape = try numbers(arguments[2])
            let strides = try numbers(arguments[3])
            guard shape.count == strides.count else { throw fail("has a tensor of odd strides") }
            try push(
                .tensor(Tensor(storage: storage, offset: offset, shape: shape, strides: strides))
            )
        case .rebuildParameter:
            guard let first = arguments.first, case .tensor = first else {
                throw fail("has a parameter without a tensor")
            }
            try push(first)
        case .storageType: throw refuse("a call of a storage type")
        }
    }
}
