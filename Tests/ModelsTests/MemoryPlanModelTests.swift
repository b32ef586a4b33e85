import Checkpoints
import Models
import NN
import Testing
import Torch

@Suite struct MemoryPlanModelTests {
    @Test(arguments: GoldenTests.names, [Tensor.DType.float32, .bfloat16])
    func `the plan from headers is what the loaded model says`(
        _ name: String,
        _ dtype: Tensor.DType
    ) throws {
        let checkpoint = try Checkpoint(opening: "\(GGUFModelTests.fixtures)/\(name)")
        let plan = MemoryPlan(of: checkpoint, dtype: dtype.rawValue, form: .dense)
        let model = try ModelRegistry.load(checkpoint, dtype: dtype)
        #expect(plan.stateBytesPerToken == model.stateBytesPerToken)
        #expect(plan.stateBytes == model.stateBytes)
        #expect(plan.contextLength == model.contextLength)
    }
}
