import KernelChecks
import Testing

/// The device's kernels, run by the emulator, against the CPU's operations.
@Suite struct KernelTests {
    @Test(arguments: 0..<kernel_check_count())
    func `a kernel does what its check says`(_ index: Int32) {
        let failure = kernel_check_run(index).map { String(cString: $0) }
        let name = kernel_check_name(index).map { String(cString: $0) } ?? ""
        #expect(failure == nil, "\(name)")
    }

    @Test func `every kernel's file has checks`() {
        #expect(kernel_check_count() >= 25)
    }
}
