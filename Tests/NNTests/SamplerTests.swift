import Foundation
import NN
import Testing
import Torch

@Suite struct SamplerTests {
    let sampler = Sampler()

    /// Draws `count` times from one row of logits, at positions 0, 1, 2 and so on.
    func draws(_ logits: [Float], _ row: SamplerRow, count: Int) throws -> [Int32] {
        let batch = 500
        let rows = (0..<count).map {
            var next = row
            next.position = UInt32($0)
            return next
        }
        let tensor = Tensor(
            [[Float]](repeating: logits, count: batch).flatMap { $0 },
            shape: [batch, logits.count]
        )
        return try stride(from: 0, to: count, by: batch).flatMap { start in
            try Torch.checked {
                try sampler.sample(logits: tensor, rows: Array(rows[start..<start + batch]))
                    .map { try $0.get().token }
            }
        }
    }

    func one(_ logits: [Float], _ row: SamplerRow) throws -> Result<Sampled, SamplerError> {
        let all = try Torch.checked {
            sampler.sample(logits: Tensor(logits, shape: [1, logits.count]), rows: [row])
        }
        return try #require(all.first)
    }

    /// The probabilities that remain after the filters, by their definitions over a sorted list.
    func exact(_ logits: [Float], _ row: SamplerRow) -> [Double] {
        let z = logits.map { Double($0) / Double(row.temperature) }
        let top = z.max() ?? 0
        var order = z.indices.sorted { z[$0] > z[$1] || (z[$0] == z[$1] && $0 < $1) }
        if row.topK > 0 { order = Array(order.prefix(row.topK)) }
        let total = order.reduce(0) { $0 + exp(z[$1] - top) }
        var kept: [Int] = []
        var mass = 0.0
        for index in order where mass < Double(row.topP) * total || kept.isEmpty {
            kept.append(index)
            mass += exp(z[index] - top)
        }
        kept.removeAll { exp(z[$0] - top) < Double(row.minP) }
        let rest = kept.reduce(0) { $0 + exp(z[$1] - top) }
        return z.indices.map { kept.contains($0) ? exp(z[$0] - top) / rest : 0 }
    }

    static var settings: [SamplerRow] {
        [
            (1, 0, 1, 0), (0.7, 0, 1, 0), (1.5, 7, 1, 0), (1, 0, 0.8, 0), (1, 0, 1, 0.1),
            (2, 12, 0.9, 0.05),
        ]
        .map { (temperature: Float, topK: Int, topP: Float, minP: Float) in
            var row = SamplerRow()
            (row.temperature, row.topK, row.topP, row.minP) = (temperature, topK, topP, minP)
            row.seed = 42
            return row
        }
    }

    @Test(arguments: 0..<6) func `draws follow the exact probabilities`(_ setting: Int) throws {
        let row = Self.settings[setting]
        let logits = noise(40, seed: 9).map { $0 * 3 }
        let expected = exact(logits, row)
        let count = 40_000
        var seen = [Int](repeating: 0, count: logits.count)
        for token in try draws(logits, row, count: count) { seen[Int(token)] += 1 }
        var square = 0.0
        var freedom = -1.0
        for (found, share) in zip(seen, expected) {
            if share == 0 {
                #expect(found == 0)
            } else {
                let mean = share * Double(count)
                square += (Double(found) - mean) * (Double(found) - mean) / mean
                freedom += 1
            }
        }
        // Five deviations of the chi-square distribution: the seed is fixed, so this cannot flicker.
        #expect(square < freedom + 5 * (2 * freedom).squareRoot())
    }

    @Test func `greedy takes the lowest index of the maximum`() throws {
        var logits = noise(1000, seed: 3)
        for index in [611, 300, 999] { logits[index] = 5 }
        #expect(try one(logits, SamplerRow()).get().token == 300)
    }

    @Test func `a row draws the same alone and in any batch`() throws {
        let size = 2000
        let count = 9
        let values = noise(count * size, seed: 4).map { $0 * 4 }
        let rows = (0..<count).map { index in
            var row = Self.settings[index % 6]
            row.seed = UInt64(index / 2)
            row.choice = UInt32(index)
            row.position = 17
            row.topLogprobs = 3
            return row
        }
        let together = try Torch.checked {
            sampler.sample(logits: Tensor(values, shape: [count, size]), rows: rows)
        }
        for index in 0..<count {
            let alone = try one(Array(values[index * size..<(index + 1) * size]), rows[index])
            #expect(alone == together[index])
        }
    }

    @Test func `seed, choice and position each change the draw`() throws {
        var row = Self.settings[0]
        let flat = [Float](repeating: 0, count: 500)
        let base = try one(flat, row).get().token
        row.choice = 1
        let choice = try one(flat, row).get().token
        row.choice = 0
        row.position = 1
        let position = try one(flat, row).get().token
        row.position = 0
        row.seed = 42 + 1 << 40
        let seed = try one(flat, row).get().token
        #expect(Set([base, choice, position, seed]).count == 4)
    }

    @Test func `log-probabilities are those of the raw logits`() throws {
        let logits = noise(777, seed: 5).map { $0 * 8 }
        var row = Self.settings[2]
        row.topLogprobs = 20
        row.logitBias = [5: 100]
        let sampled = try one(logits, row).get()
        let total = log(logits.reduce(0.0) { $0 + exp(Double($1)) })
        #expect(sampled.token == 5)
        #expect(abs(Double(sampled.logprob ?? 0) - (Double(logits[5]) - total)) < 1e-4)
        let best = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(20)
        #expect(sampled.top.map { Int($0.token) } == Array(best))
        for candidate in sampled.top {
            #expect(
                abs(Double(candidate.logprob) - (Double(logits[Int(candidate.token)]) - total))
                    < 1e-4
            )
        }
        row.topLogprobs = nil
        #expect(try one(logits, row).get().logprob == nil)
    }

    @Test func `penalties weigh prompt and output as they should`() throws {
        var row = SamplerRow()
        row.history = TokenHistory(prompt: [0, 0, 1], generated: [2, 2])
        // Repetition: positive divided, negative multiplied, prompt and output alike.
        row.repetitionPenalty = 2
        #expect(try one([4, 1, 1, 2.1], row).get().token == 3)
        #expect(try one([-2, -9, -9, -3], row).get().token == 3)
        // Presence and frequency: the output only, and frequency as often as it occurred.
        row.repetitionPenalty = 1
        row.presencePenalty = 1
        #expect(try one([1, 0, 1.9, 0.95], row).get().token == 0)
        row.presencePenalty = 0
        row.frequencyPenalty = 1
        #expect(try one([1, 0, 2.9, 0], row).get().token == 0)
        #expect(try one([1, 0, 3.1, 0], row).get().token == 2)
        row.history?.append(2)
        #expect(try one([1, 0, 3.1, 0], row).get().token == 0)
    }

    @Test func `suppressed and masked tokens are never chosen`() throws {
        var row = Self.settings[0]
        row.suppressed = [0, 99, -1]
        row.mask = [0b0111]
        let tokens = try draws([9, 1, 1, 9, 9], row, count: 500)
        #expect(Set(tokens) == [1, 2])
        row.mask = [0b0001]
        #expect(try one([9, 1, 1], row) == .failure(.nothingAllowed))
        row.mask = []
        #expect(try one([9, 1, 1], row) == .failure(.nothingAllowed))
    }

    @Test func `a row with NaN fails alone`() throws {
        let values: [Float] = [1, 2, 3, 1, .nan, 3, 3, 2, 1]
        let all = try Torch.checked {
            sampler.sample(
                logits: Tensor(values, shape: [3, 3]),
                rows: [SamplerRow](repeating: SamplerRow(), count: 3)
            )
        }
        #expect(try all[0].get().token == 2)
        #expect(all[1] == .failure(.notANumber))
        #expect(try all[2].get().token == 0)
    }

    @Test(arguments: [Float(1e-30), 1e-6, 100, 1e30])
    func `extreme temperatures draw a token`(_ temperature: Float) throws {
        var row = SamplerRow()
        row.temperature = temperature
        row.topP = 0.9
        let token = try one([1, 3, 2], row).get().token
        #expect(temperature > 1 ? (0..<3).contains(token) : token == 1)
    }
}
