/// Why a picture or a clip has no target size.
public enum GeometryError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A side is not positive or beyond 2^24.
    case side(PixelSize)
    /// The longer side is more than 200 times the shorter.
    case aspectRatio(PixelSize)
    /// The clip is shorter than one temporal patch.
    case tooFewFrames(Int, needed: Int)
    /// The settings ask for nothing that can be computed.
    case settings(String)

    /// One sentence for the client.
    public var description: String {
        switch self {
        case .side(let size):
            "a size of \(size.width)x\(size.height) pixels cannot be used"
        case .aspectRatio(let size):
            "the longer side may be at most 200 times the shorter, got \(size.width)x\(size.height)"
        case .tooFewFrames(let count, let needed):
            "a video needs at least \(needed) frames, got \(count); send one frame as an image"
        case .settings(let why):
            "the model's media settings cannot be used: \(why)"
        }
    }
}
