package import Checkpoints
internal import EngineLink
package import Models
internal import NN
internal import Torch
package import Vision

/// The images and clips of an engine's prompts: on their way through the tower, or through it.
///
/// One pass takes all media that wait when it starts. Features of equal media are computed once; those of
/// the latest stay after their prompts, for the next turn of a conversation.
package struct VisionWork {
    /// How one model sees.
    package struct Eyes {
        let model: any VisionLanguageModel
        let processor: VisionProcessor
        let rule: RotaryIndex.TimeRule
        let cacheBytes: Int

        /// `cacheBytes`: features kept after their prompts.
        package init(
            model: any VisionLanguageModel,
            processor: VisionProcessor,
            rule: RotaryIndex.TimeRule,
            cacheBytes: Int
        ) {
            self.model = model
            self.processor = processor
            self.rule = rule
            self.cacheBytes = cacheBytes
        }
    }

    /// A prompt with media.
    struct Entry {
        let prompt: MediaPrompt
        let began = Memory.now()
        /// One for each medium; empty until all are there.
        var features: [VisionFeatures] = []
    }

    private struct Cached {
        let features: VisionFeatures
        let bytes: Int
        var used: UInt64
    }

    /// Patches of a pass, unless one medium has more: what a pass holds at its end.
    private static let passPatches = 65_536

    private let eyes: Eyes
    private var entries: [GenerationID: Entry] = [:]
    /// Prompts whose features are missing, oldest first.
    private var waiting: [GenerationID] = []
    private var pass: (run: VisionPass, identities: [[UInt8]])?
    private var cache: [[UInt8]: Cached] = [:]
    private var cachedBytes = 0
    private var clock: UInt64 = 0

    init(_ eyes: Eyes) { self.eyes = eyes }

    /// Whether the tower has something to do.
    var hasWork: Bool { !waiting.isEmpty }
    /// What is known of a generation's media.
    func entry(_ id: GenerationID) -> Entry? { entries[id] }

    /// What a request's media become in this model's prompt.
    func read(_ request: GenerationRequest) throws(MediaPrompt.Refusal) -> MediaPrompt {
        try MediaPrompt(
            request.media.map { medium in
                MediaPrompt.Source(
                    kind: medium.kind,
                    frames: medium.frames,
                    width: medium.width,
                    height: medium.height,
                    spans: medium.spans,
                    secondsPerGrid: medium.secondsPerGrid,
                    identity: medium.identity,
                    read: { body in medium.pixels.withBytes(body) }
                )
            },
            count: request.prompt.count,
            model: eyes.model,
            processor: eyes.processor,
            rule: eyes.rule
        )
    }

    /// Takes a prompt in; true where all its features are known already.
    mutating func add(_ id: GenerationID, _ prompt: MediaPrompt) -> Bool {
        entries[id] = Entry(prompt: prompt)
        if settle(id) { return true }
        waiting.append(id)
        return false
    }

    /// Forgets a generation; its media that are in a pass go on and stay in the cache.
    mutating func remove(_ id: GenerationID) {
        entries[id] = nil
        waiting.removeAll { $0 == id }
        if waiting.isEmpty { pass = nil }
    }

    /// Forgets all generations.
    mutating func removeAll() {
        entries = [:]
        waiting = []
        pass = nil
    }

    /// Gives the features back that no prompt needs.
    mutating func trim() {
        cache = [:]
        cachedBytes = 0
    }

    /// Works for one block of the tower; the generations whose features are complete now.
    ///
    /// Failures are sticky: call inside `Torch.checked`, and `fail` after one.
    mutating func advance() -> [GenerationID] {
        if pass == nil { pass = begin() }
        guard let pass else { return [] }
        guard pass.run.advance() else { return [] }
        for (identity, features) in zip(pass.identities, pass.run.features) {
            keep(features, for: identity)
        }
        self.pass = nil
        let ready = waiting.filter { settle($0) }
        waiting.removeAll { entries[$0]?.features.isEmpty == false }
        shrink()
        return ready
    }

    /// Gives the pass up that has failed: the generations that waited for it.
    mutating func fail() -> [GenerationID] {
        let lost = Set(pass?.identities ?? [])
        pass = nil
        return waiting.filter { id in
            let media = entries[id]?.prompt.media ?? []
            return lost.isEmpty || media.contains { lost.contains($0.identity) }
        }
    }

    private mutating func begin() -> (run: VisionPass, identities: [[UInt8]])? {
        var inputs: [VisionInput] = []
        var identities: [[UInt8]] = []
        var patches = 0
        for medium in waiting.compactMap({ entries[$0]?.prompt.media }).joined()
        where cache[medium.identity] == nil && !identities.contains(medium.identity) {
            let count = medium.input.grid.patches
            guard inputs.isEmpty || patches + count <= Self.passPatches else { break }
            patches += count
            inputs.append(medium.input)
            identities.append(medium.identity)
        }
        return inputs.isEmpty ? nil : (eyes.model.makePass(inputs), identities)
    }

    /// Hands a generation its features where all are there.
    private mutating func settle(_ id: GenerationID) -> Bool {
        guard let media = entries[id]?.prompt.media else { return false }
        var features: [VisionFeatures] = []
        for medium in media {
            guard let known = cache[medium.identity] else { return false }
            features.append(known.features)
        }
        clock &+= 1
        for medium in media { cache[medium.identity]?.used = clock }
        entries[id]?.features = features
        return true
    }

    private mutating func keep(_ features: VisionFeatures, for identity: [UInt8]) {
        guard cache[identity] == nil else { return }
        let bytes = ([features.rows] + features.deep).reduce(0) {
            $0 + $1.count * ($1.dtype?.size ?? 0)
        }
        clock &+= 1
        cache[identity] = Cached(features: features, bytes: bytes, used: clock)
        cachedBytes += bytes
    }

    /// Drops the longest unused features beyond the bound; those that a waiting prompt needs stay.
    private mutating func shrink() {
        guard cachedBytes > eyes.cacheBytes else { return }
        let needed = Set(
            waiting.compactMap { entries[$0]?.prompt.media.map(\.identity) }.joined()
        )
        for (identity, cached) in cache.sorted(by: { $0.value.used < $1.value.used })
        where cachedBytes > eyes.cacheBytes && !needed.contains(identity) {
            cache[identity] = nil
            cachedBytes -= cached.bytes
        }
    }
}
