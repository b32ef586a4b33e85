import Foundation
import NVML
import Testing

/// A library of the driver's that does what a file says.
private final class FakeDriver {
    private let folder: URL
    var library: String { folder.appending(path: "libnvidia-ml.so.1").path }

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appending(path: "nvml-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appending(path: "fake-nvml.c").path
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/cc")
        let script = "-DSCRIPT=\"\(folder.appending(path: "script").path)\""
        compiler.arguments = ["-shared", "-fPIC", script, source, "-o", library]
        try compiler.run()
        compiler.waitUntilExit()
        try #require(compiler.terminationStatus == 0)
    }

    func plays(_ script: String) throws {
        try Data(script.utf8).write(to: folder.appending(path: "script"), options: .atomic)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }
}

@Suite struct NVMLTests {
    private let driver: FakeDriver

    init() throws { driver = try FakeDriver() }

    @Test func `GPUs are told with their memory and their place`() throws {
        try driver.plays("gpus 24000000000 23000000000 80000000000 1")
        let nvml = NVML(library: driver.library)
        let gpus = nvml.read().all
        #expect(gpus.map(\.totalBytes) == [24_000_000_000, 80_000_000_000])
        #expect(gpus.map(\.freeBytes) == [23_000_000_000, 1])
        #expect(gpus.map(\.name) == ["Fake 1", "Fake 2"])
        #expect(
            gpus.map(\.address) == [BusAddress("0000:01:00.0"), BusAddress("00000000:02:00.0")]
        )
    }

    @Test func `a reading is shared for as long as the caller lets it be`() throws {
        try driver.plays("gpus 100 90")
        let nvml = NVML(library: driver.library)
        #expect(nvml.read().all.first?.freeBytes == 90)
        try driver.plays("gpus 100 10")
        #expect(nvml.read(age: 60).all.first?.freeBytes == 90)
        #expect(nvml.read(age: 0).all.first?.freeBytes == 10)
    }

    @Test func `a machine without the library says so`() {
        let nvml = NVML(library: "libnvidia-ml-is-not-here.so.1")
        guard case .nothing(let reason) = nvml.read() else {
            Issue.record("saw a GPU")
            return
        }
        #expect(reason.contains("libnvidia-ml-is-not-here.so.1"))
    }

    @Test func `a driver that fails is quoted, also after it worked`() throws {
        try driver.plays("fail 9")
        let failing = NVML(library: driver.library).read()
        #expect(failing == .nothing("nvmlInit_v2: Driver Not Loaded"))
        try driver.plays("gpus 100 90")
        let nvml = NVML(library: driver.library)
        #expect(nvml.read().all.count == 1)
        try driver.plays("fail 15")
        #expect(nvml.read(age: 0) == .nothing("nvmlDeviceGetCount_v2: Unknown Error"))
    }

    @Test func `a driver that hangs holds nobody for long, and the second caller not at all`()
        throws
    {
        try driver.plays("gpus 100 90")
        let nvml = NVML(library: driver.library, patience: 0.2)
        #expect(nvml.read().all.count == 1)
        try driver.plays("hang")
        let clock = ContinuousClock()
        var sight = GPUSight.nothing("")
        let first = clock.measure { sight = nvml.read(age: 0) }
        #expect(sight == .nothing("the driver does not answer"))
        #expect(first > .milliseconds(150) && first < .seconds(2))
        Thread.sleep(forTimeInterval: 0.1)
        let second = clock.measure { sight = nvml.read(age: 0) }
        #expect(sight == .nothing("the driver does not answer"))
        #expect(second < .milliseconds(100))
    }

    @Test(arguments: ["", "0000:01", "x:01:00.0", "0000:01:00:00"])
    func `what is no address is refused`(text: String) { #expect(BusAddress(text) == nil) }
}
