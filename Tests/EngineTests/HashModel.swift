import NN
import Torch

/// A model whose next token is a hash of everything before; it can be told to fail.
final class HashModel: CausalLanguageModel {
    let vocabularySize = 32
    let contextLength = 64
    let stateBytesPerToken = 4
    /// Tokens whose row becomes NaN.
    var poison: Int32?
    /// Tokens that make the whole step fail.
    var bomb: Int32?
    private(set) var states: [HashState] = []

    func makeState(capacity: Int) -> any SequenceState {
        let state = HashState(capacity: capacity)
        states.append(state)
        return state
    }

    func callAsFunction(_ step: Step) -> Tensor {
        guard step.isSound, case .tokens(let tokens) = step.input else {
            Torch.fail("unsound")
            return .undefined
        }
        if let bomb, tokens.contains(bomb) {
            Torch.fail("a bomb")
            return .undefined
        }
        var rows: [[Float]] = []
        var place = 0
        for run in step.runs {
            for token in tokens[place..<place + run.count] {
                guard let state = run.state as? HashState else { return .undefined }
                state.tokens.append(token)
                rows.append(logits(after: state.tokens))
            }
            place += run.count
        }
        let wanted = step.outputRows.flatMap { rows[$0] }
        return Tensor(wanted, shape: [step.outputRows.count, vocabularySize])
    }

    private func logits(after tokens: [Int32]) -> [Float] {
        var row = [Float](repeating: 0, count: vocabularySize)
        row[Int(Self.next(tokens))] = 9
        if tokens.last == poison { row[0] = .nan }
        return row
    }

    static func next(_ tokens: [Int32]) -> Int32 {
        var hash: UInt64 = 14_695_981_039_346_656_037
        for token in tokens {
            hash = (hash ^ UInt64(UInt32(bitPattern: token))) &* 1_099_511_628_211
        }
        // 0…3 are kept for stop tokens, poison and bombs.
        return Int32(4 + (hash >> 33) % 28)
    }

    /// What the model says after a prompt.
    static func continuation(_ prompt: [Int32], _ count: Int) -> [Int32] {
        var tokens = prompt
        for _ in 0..<count { tokens.append(next(tokens)) }
        return Array(tokens.dropFirst(prompt.count))
    }
}

/// The tokens themselves.
final class HashState: SequenceState {
    var tokens: [Int32] = []
    let capacity: Int
    init(capacity: Int) { self.capacity = capacity }
    var length: Int { tokens.count }
    func truncate(to length: Int) { tokens = Array(tokens.prefix(length)) }
    func copy(from other: any SequenceState, count: Int) {
        tokens = Array(((other as? HashState)?.tokens ?? []).prefix(count))
    }
    func release() { tokens = [] }
}
