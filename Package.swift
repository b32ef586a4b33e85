// swift-tools-version: 6.1
import PackageDescription

// Rooms see only downwards. Each target names every room that it imports; `make lint` builds with
// `--explicit-target-dependency-import-check error`. The picture is in docs/architecture.md.

let rules: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// libtorch as `make deps` unpacks it; nothing has to be set in the environment.
let torch = Context.packageDirectory + "/.deps/torch"

/// TORCHGATE_NO_TORCH=1 leaves out every target that links libtorch, so that the front's tests build quickly.
let withTorch = Context.environment["TORCHGATE_NO_TORCH"] != "1"

func room(_ name: String, _ folder: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "Sources/\(folder)/\(name)",
        swiftSettings: rules
    )
}

func tests(_ room: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: "\(room)Tests",
        dependencies: dependencies,
        path: "Tests/\(room)Tests",
        swiftSettings: rules
    )
}

extension Target.Dependency {
    static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let crypto = product(name: "Crypto", package: "swift-crypto")
    static let grdbSQLite = product(name: "GRDBSQLite", package: "GRDB.swift")
    static let grdb = product(name: "GRDB", package: "GRDB.swift")
    static let logging = product(name: "Logging", package: "swift-log")
    static let yams = product(name: "Yams", package: "Yams")
}

// The front: never links libtorch.
let front: [Target] = [
    .systemLibrary(
        name: "CFCGI",
        path: "Sources/FCGIApp/CFCGI",
        providers: [.apt(["libfcgi-dev"])]
    ),
    .systemLibrary(
        name: "CPCRE2",
        path: "Sources/Inference/CPCRE2",
        pkgConfig: "libpcre2-8",
        providers: [.apt(["libpcre2-dev"])]
    ),
    .target(name: "CLinux", path: "Sources/FCGIApp/CLinux"),
    .target(
        name: "CCurl",
        path: "Sources/FCGIApp/CCurl",
        linkerSettings: [.linkedLibrary("curl")]
    ),
    room("Spawn", "FCGIApp", ["CLinux"]),
    room("JSON", "FCGIApp", []),
    room("FastCGI", "FCGIApp", ["CFCGI", "CLinux"]),
    room("Nginx", "FCGIApp", []),
    room("Settings", "FCGIApp", [.yams]),
    room("NVML", "FCGIApp", ["CLinux"]),
    room("OpenAI", "FCGIApp", ["JSON"]),
    room("Logs", "FCGIApp", ["JSON", .logging]),
    room("Streams", "FCGIApp", []),
    room("Text", "Inference", ["JSON", "CPCRE2"]),
    room("EngineLink", "Inference", ["JSON", "CLinux", "Spawn"]),
    room("Vision", "Inference", []),
    room("Checkpoints", "Inference", ["JSON", "Vision"]),
    room("MediaLink", "Inference", ["JSON", "Vision"]),
    room("Media", "FCGIApp", ["MediaLink", "Vision", "JSON", "CLinux", "CCurl"]),
    room("Generations", "FCGIApp", ["EngineLink"]),
    room("KeyStore", "Auth", ["CLinux", .grdb, .grdbSQLite, .crypto]),
    room("AdminCLI", "Auth", ["KeyStore", "JSON", .argumentParser]),
    room(
        "Server",
        "FCGIApp",
        [
            "JSON", "FastCGI", "OpenAI", "Streams", "Generations", "EngineLink", "Text",
            "Checkpoints", "Media", "MediaLink", "Vision", "NVML",
            "KeyStore", "Settings", "CLinux", .logging, .crypto,
        ]
    ),
    room(
        "Doctor",
        "FCGIApp",
        ["Settings", "Nginx", "NVML", "KeyStore", "Checkpoints", "JSON", "CLinux", "Spawn"]
    ),
    .executableTarget(
        name: "torchgate",
        dependencies: [
            "Server", "Doctor", "Logs", "AdminCLI", "KeyStore", "Settings", "Nginx", "FastCGI",
            "EngineLink", "JSON", "CLinux", "Spawn", "Checkpoints", .argumentParser, .logging,
        ],
        path: "Sources/FCGIApp/Main",
        swiftSettings: rules
    ),
]

// The media process: the only one that links decoders.
let media: [Target] = [
    .target(
        name: "CMedia",
        path: "Sources/Inference/CMedia",
        linkerSettings: ["avformat", "avcodec", "swscale", "avutil", "jpeg", "deflate", "m"].map {
            .linkedLibrary($0)
        }
    ),
    .executableTarget(
        name: "torchgate-media",
        dependencies: ["CMedia", "Vision", "MediaLink", "JSON", "CLinux"],
        path: "Sources/Inference/MediaMain",
        swiftSettings: rules
    ),
]

// The engine: the only process that links libtorch.
let engine: [Target] = [
    .target(
        name: "CTorch",
        path: "Sources/Inference/CTorch",
        cxxSettings: [
            .unsafeFlags([
                "-std=c++20", "-isystem", torch + "/include", "-isystem",
                torch + "/include/torch/csrc/api/include",
            ])
        ],
        linkerSettings: [
            .unsafeFlags([
                "-L", torch + "/lib", "-Xlinker", "-rpath", "-Xlinker",
                "$ORIGIN/../lib/torchgate/torch/lib:$ORIGIN/../../../.deps/torch/lib", "-Xlinker",
                "--enable-new-dtags",
            ]),
            .linkedLibrary("torch_cpu"), .linkedLibrary("c10"),
        ]
    ),
    room("Torch", "Inference", ["CTorch"]),
    room("NN", "Inference", ["Torch", "CTorch"]),
    room("Pixels", "Inference", ["Torch", "Vision", "Checkpoints"]),
    room("Weights", "Inference", ["Torch", "Checkpoints", "CTorch"]),
    room("Models", "Inference", ["NN", "Torch", "Vision", "Weights", "Checkpoints", "JSON"]),
    room("Scheduling", "Inference", []),
    room(
        "Engine",
        "Inference",
        [
            "Models", "NN", "Pixels", "Vision", "Torch", "Weights", "Checkpoints", "Scheduling",
            "EngineLink", "JSON", "CLinux",
            .logging,
        ]
    ),
    .executableTarget(
        name: "torchgate-engine",
        dependencies: [
            "Engine", "EngineLink", "Checkpoints", "CLinux", "Logs", .argumentParser, .logging,
        ],
        path: "Sources/Inference/EngineMain",
        swiftSettings: rules
    ),
]

let frontTests: [Target] = [
    .target(
        name: "TestSupport",
        dependencies: ["EngineLink", "JSON", "CLinux"],
        path: "Tests/Support",
        exclude: ["ScriptedEngineMain", "KernelChecks"],
        sources: ["ScriptedEngine"],
        swiftSettings: rules
    ),
    .executableTarget(
        name: "scripted-engine",
        dependencies: ["TestSupport", "EngineLink", "JSON"],
        path: "Tests/Support/ScriptedEngineMain",
        swiftSettings: rules
    ),
    .executableTarget(
        name: "keys-tool",
        dependencies: ["AdminCLI", "KeyStore", .argumentParser],
        path: "Tests/AdminCLITests/Tool",
        swiftSettings: rules
    ),
    tests("KeyStore", ["KeyStore", .grdb]),
    .testTarget(
        name: "AdminCLITests",
        dependencies: ["AdminCLI", "KeyStore", "JSON", "keys-tool"],
        path: "Tests/AdminCLITests",
        exclude: ["Tool"],
        swiftSettings: rules
    ),
    tests("EngineLink", ["EngineLink", "JSON", "CLinux", "TestSupport", "scripted-engine"]),
    tests("OpenAI", ["OpenAI", "JSON"]),
    tests("Server", ["Server", "Settings", "JSON", "torchgate-media"]),
    tests("Streams", ["Streams"]),
    tests("Generations", ["Generations", "EngineLink"]),
    tests("JSON", ["JSON"]),
    tests("Settings", ["Settings"]),
    tests("Checkpoints", ["Checkpoints", "JSON", "Vision"]),
    tests("FastCGI", ["FastCGI", "CLinux"]),
    tests("Nginx", ["Nginx"]),
    .testTarget(
        name: "NVMLTests",
        dependencies: ["NVML"],
        path: "Tests/NVMLTests",
        exclude: ["fake-nvml.c"],
        swiftSettings: rules
    ),
    tests("Vision", ["Vision"]),
    tests("MediaProcess", ["torchgate-media", "CMedia", "MediaLink", "Vision", "JSON", "CLinux"]),
    tests("Media", ["Media", "MediaLink", "Vision", "torchgate-media"]),
    tests("Doctor", ["Doctor", "Settings", "Nginx", "NVML", "KeyStore", "Checkpoints", "JSON"]),
    tests("Text", ["Text", "JSON"]),
]

let engineTests: [Target] = [
    // The device's kernels for the host: what `tests("Kernel")` compares with the CPU's operations.
    .target(
        name: "CudaKernels",
        path: "Sources/Inference/CCuda",
        exclude: ["kernels"],
        sources: [
            "emulator", "launch_attention.cpp", "launch_layers.cpp", "launch_recurrence.cpp",
            "launch_sampler.cpp", "launch_weights.cpp",
        ],
        publicHeadersPath: "emulator",
        cxxSettings: [.define("TORCHGATE_EMULATED"), .unsafeFlags(["-O2"])]
    ),
    .target(
        name: "KernelChecks",
        path: "Tests/Support/KernelChecks",
        cxxSettings: [.define("TORCHGATE_EMULATED"), .unsafeFlags(["-O2"])]
    ),
    tests("Kernel", ["KernelChecks", "CudaKernels", "CTorch"]),
    tests("Scheduling", ["Scheduling"]),
    tests("Torch", ["Torch"]),
    tests("NN", ["NN", "Torch"]),
    tests("Weights", ["Weights", "Torch", "CTorch", "Checkpoints"]),
    tests(
        "Engine",
        [
            "torchgate-engine", "Engine", "EngineLink", "Scheduling", "Models", "NN", "Torch",
            "Checkpoints", "JSON", "CLinux", .logging,
        ]
    ),
    tests(
        "Models",
        [
            "Models", "NN", "Pixels", "Vision", "Torch", "Weights", "Checkpoints", "JSON",
        ]
    ),
]

let package = Package(
    name: "torchgate",
    products: [
        .executable(name: "torchgate", targets: ["torchgate"]),
        .executable(name: "torchgate-media", targets: ["torchgate-media"]),
    ] + (withTorch ? [.executable(name: "torchgate-engine", targets: ["torchgate-engine"])] : []),
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: front + media + frontTests + (withTorch ? engine + engineTests : []),
    cxxLanguageStandard: .cxx20
)
