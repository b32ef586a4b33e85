/// Length and rate of a clip as its container tells them.
public struct VideoTimeline: Sendable, Equatable {
    /// Frames in all.
    public var frames: Int
    /// Frames a second; nil where the container does not say.
    public var fps: Double?

    /// A clip of `frames` frames at `fps` frames a second.
    public init(frames: Int, fps: Double?) {
        self.frames = frames
        self.fps = fps
    }
}

/// The frames of a clip that a model sees, by index from 0, in order; an index may repeat.
public struct FrameChoice: Sendable, Equatable {
    /// Indices of the chosen frames.
    public var indices: [Int]
    /// The clip they were chosen from.
    public var timeline: VideoTimeline

    /// A choice of `indices` from a clip.
    public init(indices: [Int], timeline: VideoTimeline) {
        self.indices = indices
        self.timeline = timeline
    }

    /// Frames a second that a clip without a rate is taken to have.
    public static let assumedFPS = 24.0

    /// Frames a second among the chosen ones.
    public var sampledFPS: Double {
        guard let fps = timeline.fps, fps > 0, timeline.frames > 0 else { return Self.assumedFPS }
        return Double(indices.count) / Double(timeline.frames) * fps
    }

    /// Seconds from one temporal patch to the next: `second_per_grid_ts` of Qwen2.5-VL.
    public func secondsPerGrid(temporalPatch: Int) -> Double {
        Double(temporalPatch) / sampledFPS
    }

    /// Time in seconds of each temporal patch: the mean of its first and last frame, as Qwen3-VL prints it.
    public func timestamps(temporalPatch: Int) -> [Double] {
        guard temporalPatch > 0, let last = indices.last else { return [] }
        let fps = timeline.fps.flatMap { $0 > 0 ? $0 : nil } ?? Self.assumedFPS
        return stride(from: 0, to: indices.count, by: temporalPatch).map { start in
            let end = start + temporalPatch - 1
            let first = Double(indices[start]) / fps
            let final = Double(end < indices.count ? indices[end] : last) / fps
            return (first + final) / 2
        }
    }
}

extension VideoRule {
    /// Chooses the frames of a clip.
    ///
    /// Throws where transformers does: more frames asked for than there are, or fewer than one. A clip shorter
    /// than a temporal patch is taken whole; `target` tells whether the family has a size for it.
    public func choose(from timeline: VideoTimeline) throws(GeometryError) -> FrameChoice {
        let total = timeline.frames
        guard (1...1 << 24).contains(total) else {
            throw .tooFewFrames(total, needed: layout.temporalPatch)
        }
        guard layout.isValid, minFrames >= 0, maxFrames > 0 else {
            throw .settings("\(minFrames) to \(maxFrames) frames")
        }
        if let fps, !(fps > 0 && fps <= 1e6) { throw .settings("\(fps) frames a second") }
        var known = timeline
        if let rate = known.fps, !(rate > 0 && rate <= 1e6) { known.fps = nil }
        var rule = self
        if let most = allFramesUpTo {
            if total <= most {
                return FrameChoice(indices: Array(0..<total), timeline: known)
            }
            rule.frameCount = most
        }
        let indices =
            switch family {
            case .qwen2VL: try rule.steps(known)
            case .qwen3VL: try rule.spread(known)
            }
        return FrameChoice(indices: indices, timeline: known)
    }

    /// `torch.arange(0, total, total / n).int()`: the step is a double, the values are float32.
    private func steps(_ clip: VideoTimeline) throws(GeometryError) -> [Int] {
        let total = clip.frames
        let pair = layout.temporalPatch
        let wanted: Int
        if let frameCount {
            wanted = SmartResize.halfEven(max(0, min(frameCount, 1 << 24)), pair) * pair
        } else if let fps {
            let most = min(maxFrames, total) / pair * pair
            let rate = clip.fps ?? FrameChoice.assumedFPS
            let exact = Double(total) / rate * fps
            wanted = Int(min(max(exact, Double(minFrames)), Double(min(most, total)))) / pair * pair
        } else {
            return Array(0..<total)
        }
        guard wanted > 0 else { throw .tooFewFrames(min(frameCount ?? total, total), needed: pair) }
        guard wanted <= total else { throw .tooFewFrames(total, needed: wanted) }
        let step = Double(total) / Double(wanted)
        return (0..<wanted).map { min(Int(Float(step * Double($0))), total - 1) }
    }

    /// `numpy.linspace(0, total - 1, n).round()`: halves go to the even neighbour.
    private func spread(_ clip: VideoTimeline) throws(GeometryError) -> [Int] {
        let total = clip.frames
        let wanted: Int
        if let frameCount {
            guard (1...1 << 16).contains(frameCount) else {
                throw .tooFewFrames(frameCount, needed: layout.temporalPatch)
            }
            wanted = frameCount
        } else if let fps {
            let exact = Double(total) / (clip.fps ?? FrameChoice.assumedFPS) * fps
            wanted = min(max(Int(min(exact, 1e9)), minFrames), maxFrames, total)
        } else {
            wanted = min(max(total, minFrames), maxFrames)
        }
        guard wanted > 0 else { throw .tooFewFrames(wanted, needed: layout.temporalPatch) }
        if wanted == 1 { return [0] }
        let step = Double(total - 1) / Double(wanted - 1)
        return (0..<wanted).map { index in
            index == wanted - 1 ? total - 1 : Int((step * Double(index)).rounded(.toNearestOrEven))
        }
    }
}
