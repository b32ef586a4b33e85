/// How pixels become more or fewer; the numbers are Pillow's, which processor files write as `resample`.
///
/// Box (4) and Hamming (5) are missing: transformers' own way of resizing refuses them too.
public enum Resampling: Int, Sendable, Equatable, CaseIterable {
    /// The pixel whose area holds the target's middle.
    case nearest = 0
    /// A windowed sinc over 6 pixels.
    case lanczos = 1
    /// A triangle over 2 pixels.
    case bilinear = 2
    /// A cubic over 4 pixels: what every published model wants.
    case bicubic = 3
}
