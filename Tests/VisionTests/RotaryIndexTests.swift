import Testing
import Vision

/// Positions against transformers' own, over whole prompts, are in ModelsTests; here are the rules one by one.
@Suite struct RotaryIndexTests {
    private func index(
        _ count: Int,
        _ media: [MediaSpan],
        perSecond: Double = 2,
        _ rule: RotaryIndex.TimeRule = .original
    ) throws -> RotaryIndex {
        try RotaryIndex(
            count: count,
            media: media,
            merge: 2,
            tokensPerSecond: perSecond,
            rule: rule
        )
    }

    @Test func `text counts up on all axes`() throws {
        let found = try index(4, [])
        #expect(found.axes == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]])
        #expect(found.delta == 0)
    }

    @Test func `an image counts rows and columns from where the text stands`() throws {
        let grid = PatchGrid(time: 1, height: 4, width: 6)
        let found = try index(9, [MediaSpan(spans: [2..<8], grid: grid)])
        #expect(found.axes[0] == [0, 1, 2, 2, 2, 2, 2, 2, 5])
        #expect(found.axes[1] == [0, 1, 2, 2, 2, 3, 3, 3, 5])
        #expect(found.axes[2] == [0, 1, 2, 3, 4, 2, 3, 4, 5])
        #expect(found.delta == -3)
    }

    @Test func `text goes on behind a clip's last second, or where transformers 5 lets it`() throws
    {
        let grid = PatchGrid(time: 4, height: 4, width: 4)
        let clip = MediaSpan(spans: [3..<19], grid: grid, secondsPerGrid: 1)
        let original = try index(20, [clip])
        #expect(Set(original.axes[0][3..<19]) == [3, 5, 7, 9])
        #expect(original.axes.map { $0[19] } == [10, 10, 10])
        #expect(original.delta == -9)
        let later = try index(20, [clip], .hf517)
        #expect(Set(later.axes[0][3..<19]) == [3, 5, 7, 9])
        #expect(later.axes.map { $0[19] } == [5, 5, 5])
        // The clip's last second lies behind the text here.
        #expect(later.delta == -10)
    }

    @Test func `parts of seconds are cut where the product is, or before it`() throws {
        let grid = PatchGrid(time: 3, height: 2, width: 2)
        for (seconds, original, later) in [
            (0.5, [0, 1, 2], [0, 0, 0]), (0.4, [0, 0, 1], [0, 0, 0]), (1.6, [0, 3, 6], [0, 2, 4]),
        ] as [(Double, [Int32], [Int32])] {
            let clip = MediaSpan(spans: [0..<3], grid: grid, secondsPerGrid: seconds)
            #expect(try index(3, [clip]).axes[0] == original)
            #expect(try index(3, [clip], .hf517).axes[0] == later)
        }
    }

    @Test func `temporal patches that stand apart are images in a row`() throws {
        let grid = PatchGrid(time: 2, height: 2, width: 4)
        let clip = MediaSpan(spans: [1..<3, 5..<7], grid: grid)
        let found = try index(8, [clip])
        #expect(found.axes[0] == [0, 1, 1, 3, 4, 5, 5, 7])
        #expect(found.axes[2] == [0, 1, 2, 3, 4, 5, 6, 7])
        #expect(found == (try index(8, [clip], .hf517)))
    }

    @Test func `media that do not fit their prompt are errors`() {
        let grid = PatchGrid(time: 1, height: 4, width: 4)
        let wrong: [[MediaSpan]] = [
            [MediaSpan(spans: [2..<5], grid: grid)], [MediaSpan(spans: [7..<11], grid: grid)],
            [MediaSpan(spans: [], grid: grid)], [MediaSpan(spans: [0..<2, 2..<4], grid: grid)],
            [MediaSpan(spans: [2..<6], grid: grid), MediaSpan(spans: [5..<9], grid: grid)],
            [MediaSpan(spans: [5..<9], grid: grid), MediaSpan(spans: [1..<5], grid: grid)],
            [MediaSpan(spans: [0..<1], grid: PatchGrid(time: 1, height: 1, width: 4))],
            [MediaSpan(spans: [0..<1], grid: PatchGrid(time: 0, height: 2, width: 2))],
            [MediaSpan(spans: [0..<4], grid: PatchGrid(time: 1, height: -4, width: -4))],
        ]
        for media in wrong {
            #expect(throws: GeometryError.self) { try index(10, media) }
        }
    }

    @Test(arguments: [1e300, .infinity, -.infinity, .nan, -5, 1e9])
    func `seconds that no clip has do not trap`(_ seconds: Double) throws {
        let grid = PatchGrid(time: 3, height: 2, width: 2)
        for rule in [RotaryIndex.TimeRule.original, .hf517] {
            let clip = MediaSpan(spans: [1..<4], grid: grid, secondsPerGrid: seconds)
            let found = try index(6, [clip], perSecond: 25, rule)
            #expect(found.axes.allSatisfy { $0.count == 6 && $0.allSatisfy { $0 >= 0 } })
        }
    }
}
