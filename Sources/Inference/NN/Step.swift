public import Torch

/// One forward pass over the new rows of any number of sequences: prefill chunks and decodes alike.
///
/// Invariants: the runs' counts add up to the number of input rows; run `i` owns the rows that follow
/// those of run `i - 1`; no state occurs twice; every output row lies in `0 ..< rows`.
public struct Step {
    /// What enters the first layer, one row a new position.
    public enum Input {
        /// Token ids; the model looks their embeddings up.
        case tokens([Int32])
        /// Ready embedding rows `[T, D]` in the model's dtype.
        case embeddings(Tensor)
    }

    /// Consecutive new rows of one sequence.
    public struct Run {
        /// The sequence; its `length` is the position before the first new row.
        public var state: any SequenceState
        /// How many new rows, at least 1.
        public var count: Int

        /// New rows of `state`.
        public init(state: any SequenceState, count: Int) {
            self.state = state
            self.count = count
        }
    }

    /// Rows that stand for a part of an image or a clip.
    public struct Replacement {
        /// The first of these rows in the step.
        public var row: Int
        /// What they become.
        public var features: VisionFeatures
        /// Which rows of the features.
        public var range: Range<Int>

        /// Rows from `row` on become those of `features` in `range`.
        public init(row: Int, features: VisionFeatures, range: Range<Int>) {
            self.row = row
            self.features = features
            self.range = range
        }
    }

    /// What enters the first layer.
    public var input: Input
    /// Rows whose embedding is a medium's.
    public var replacements: [Replacement] = []
    /// Rotary positions: one axis (text) or three (time, height, width), each with one entry a row.
    public var positions: [[Int32]]
    /// The sequences in the order of their rows.
    public var runs: [Run]
    /// The rows whose logits are wanted, in the order of the answer.
    public var outputRows: [Int]

    /// A step from its parts.
    public init(input: Input, positions: [[Int32]], runs: [Run], outputRows: [Int]) {
        self.input = input
        self.positions = positions
        self.runs = runs
        self.outputRows = outputRows
    }

    /// A text step: positions continue each run's length.
    public init(tokens: [Int32], runs: [Run], outputRows: [Int]) {
        var positions: [Int32] = []
        positions.reserveCapacity(tokens.count)
        for run in runs {
            let start = Int32(clamping: run.state.length)
            for row in 0..<Int32(clamping: run.count) { positions.append(start &+ row) }
        }
        self.init(
            input: .tokens(tokens),
            positions: [positions],
            runs: runs,
            outputRows: outputRows
        )
    }

    /// Whether the invariants above hold and every state has room for its rows.
    public var isSound: Bool {
        let rows = rowCount
        guard rows > 0, !positions.isEmpty, positions.allSatisfy({ $0.count == rows }),
            runs.allSatisfy({ $0.count > 0 && $0.count <= $0.state.capacity - $0.state.length }),
            runs.reduce(0, { $0 + $1.count }) == rows,
            Set(runs.map { ObjectIdentifier($0.state) }).count == runs.count
        else { return false }
        return outputRows.allSatisfy { $0 >= 0 && $0 < rows }
            && replacements.allSatisfy {
                $0.row >= 0 && $0.range.lowerBound >= 0 && $0.row <= rows - $0.range.count
            }
    }

    /// How many rows enter.
    public var rowCount: Int {
        switch input {
        case .tokens(let ids): ids.count
        case .embeddings(let rows): rows.shape.first ?? 0
        }
    }
}
