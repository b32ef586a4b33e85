internal import CLinux
internal import Glibc
internal import Spawn

/// Starts the engine's executable, in a session of its own so that it outlives the front.
public struct SpawnLauncher: EngineLauncher {
    private let executable: String
    private let arguments: [String]
    private let socketPath: String
    private let environment: [String: String]
    private let logDescriptor: Int32
    private let nice: Int32

    /// What an engine's environment may have: libraries, devices, thread settings; no secrets.
    private static let inherited = [
        "PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "KMP_",
        "GOMP_", "MALLOC_", "ONEDNN_", "DNNL_", "TORCHGATE_DEVICE_LIBRARY", "TORCHGATE_EMULATED_",
    ]

    /// Describes how to start an engine.
    /// - Parameters:
    ///   - socketPath: where the engine will listen; its folder must exist and be private.
    ///   - executable: nil: `torchgate-engine` beside the running executable.
    ///   - arguments: nil: `serve --socket PATH`.
    ///   - threads: OMP_NUM_THREADS; nil: not set.
    ///   - environment: added last, over all others.
    ///   - logDescriptor: the engine's stdout and stderr; must stay open.
    ///   - nice: added to the priority: the engine computes beside nginx and the front.
    public init(
        socketPath: String,
        executable: String? = nil,
        arguments: [String]? = nil,
        threads: Int? = nil,
        environment: [String: String] = [:],
        logDescriptor: Int32 = 2,
        nice: Int32 = 10
    ) {
        self.socketPath = socketPath
        self.executable = executable ?? Self.sibling
        self.arguments = arguments ?? ["serve", "--socket", socketPath]
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "="),
                Self.inherited.contains(where: { text.hasPrefix($0) })
            {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        // Spinning barriers beside one busy process cost most of the throughput.
        variables["OMP_WAIT_POLICY"] = "passive"
        if let threads { variables["OMP_NUM_THREADS"] = String(max(1, threads)) }
        // A crash report would print memory.
        variables["SWIFT_BACKTRACE"] = "enable=no"
        self.environment = variables.merging(environment) { $1 }
        self.logDescriptor = logDescriptor
        self.nice = nice
    }

    private static var sibling: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return "torchgate-engine" }
        let own = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = own.lastIndex(of: "/").map { own[...$0] } ?? ""
        return folder + "torchgate-engine"
    }

    /// Connects to an engine that listens already, such as one that an earlier front left behind.
    public func connect() -> Int32? {
        let descriptor = tg_unix_connect(socketPath)
        return descriptor >= 0 ? descriptor : nil
    }

    /// Starts the process.
    public func start() throws(LoadFailure) -> Int32? {
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        let words = [executable] + arguments
        let variables = environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let output = logDescriptor >= 0 ? logDescriptor : null
        let streams = Spawn.Streams(input: null, output: output, error: output)
        guard
            let pid = Spawn.start(words, environment: variables, streams: streams, nice: nice)
        else {
            let reason = String(cString: strerror(errno))
            throw LoadFailure(cause: .launch, detail: "cannot start \(executable): \(reason)")
        }
        return pid
    }
}
