import JSON

// Appending JSON to bytes without a tree between: the hot path of a stream.
extension [UInt8] {
    /// Appends ASCII text of the source code as it stands.
    mutating func append(literal text: StaticString) {
        append(
            contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        )
    }

    /// Appends a JSON string, or `null`.
    mutating func append(json text: String?) {
        if let text {
            String.appendJSON(text, to: &self)
        } else {
            append(literal: "null")
        }
    }

    /// Appends a whole number.
    mutating func append(json value: Int) {
        append(contentsOf: String(value).utf8)
    }

    /// Appends a finite number; others, which JSON cannot spell, as `null`.
    mutating func append(json value: Double) {
        guard value.isFinite else { return append(literal: "null") }
        append(contentsOf: value.description.utf8)
    }

    /// Appends a log-probability in its shortest spelling; minus infinity and NaN as -9999.0, as
    /// OpenAI has it.
    mutating func append(logprob value: Float) {
        append(contentsOf: (value.isFinite ? value : -9999).description.utf8)
    }

    /// Appends `[…]` with an element for each item.
    mutating func append<Items: Sequence>(
        array items: Items,
        _ element: (inout [UInt8], Items.Element) -> Void
    ) {
        append(UInt8(ascii: "["))
        var first = true
        for item in items {
            if !first { append(UInt8(ascii: ",")) }
            first = false
            element(&self, item)
        }
        append(UInt8(ascii: "]"))
    }
}
