public import NN
public import Torch
public import Vision

/// A decoder with a vision tower before it.
final class SeeingDecoder: VisionLanguageModel {
    private let decoder: Decoder
    private let tower: any VisionTower

    init(_ decoder: Decoder, _ tower: any VisionTower) {
        self.decoder = decoder
        self.tower = tower
    }

    var tokensPerSecond: Double { tower.tokensPerSecond }
    var patchLayout: PatchLayout { tower.layout }
    var vocabularySize: Int { decoder.vocabularySize }
    var contextLength: Int { decoder.contextLength }
    var stateBytesPerToken: Int { decoder.stateBytesPerToken }
    func makeState(capacity: Int) -> any SequenceState { decoder.makeState(capacity: capacity) }
    func makePass(_ inputs: [VisionInput]) -> VisionPass { VisionPass(tower, inputs) }
    func callAsFunction(_ step: Step) -> Tensor { decoder(step) }
}
