import KernelChecks
import Testing

/// The device's kernels, run by the emulator, against the CPU's operations.
@Suite(.serialized) struct KernelTests {
    @Test(arguments: 0..<kernel_check_count(), [false, true])
    func `a kernel does what its check says, whoever has the first turn`(
        _ index: Int32,
        _ backwards: Bool
    ) {
        let failure = kernel_check_run(index, backwards).map { String(cString: $0) }
        let name = kernel_check_name(index).map { String(cString: $0) } ?? ""
        #expect(failure == nil, "\(name)")
    }

    @Test func `every kernel's file has checks`() {
        #expect(kernel_check_count() >= 25)
    }
}
