import Foundation
import Settings
import Testing

struct SettingsLoaderTests {
    private func load(_ change: (inout SettingsLoader) -> Void) throws -> Settings {
        var loader = SettingsLoader()
        change(&loader)
        return try loader.load()
    }

    @Test func `nothing said gives the defaults`() throws {
        #expect(try load { _ in } == Settings())
    }

    @Test func `flags beat the environment, it beats the .env file, that beats YAML`() throws {
        let yaml = "engine:\n  idle_timeout: 1\n  slots: 1\n  threads: 1\nserver: {port: 1000}\n"
        let settings = try load { loader in
            loader.file = ("a.yaml", yaml)
            loader.environmentFile = (
                ".env", "TORCHGATE_ENGINE_SLOTS=2\nexport TORCHGATE_ENGINE_THREADS='2'\n# x\n"
            )
            loader.environment = [
                "TORCHGATE_ENGINE_THREADS": "3", "TORCHGATE_SERVER_PORT": "3", "PATH": "/x",
            ]
            loader.flags = ["server.port=4"]
        }
        #expect(settings.engine.idleTimeout == 1)
        #expect(settings.engine.slots == 2)
        #expect(settings.engine.threads == 3)
        #expect(settings.server.port == 4)
    }

    @Test func `short names work and the long one wins`() throws {
        #expect(
            try load { $0.environment = ["TORCHGATE_IDLE_TIMEOUT": "3"] }.engine.idleTimeout == 3
        )
        let both = ["TORCHGATE_IDLE_TIMEOUT": "3", "TORCHGATE_ENGINE_IDLE_TIMEOUT": "4"]
        #expect(try load { $0.environment = both }.engine.idleTimeout == 4)
    }

    @Test(arguments: [
        "engine: {idle_timout: 3}", "nonsense: 1", "- a", "a: [", "engine: 5", "server: {port: 0}",
        "server: {port: x}", "server: {mode: fast}", "engine: {dtype: int4}",
        "engine: {idle_timeout: -1}",
        "engine: {idle_timeout: .nan}", "limits: {queue: 1e99}",
        "models: {settings: {m: {colour: red}}}",
        "models: {settings: {m: {generation: {colour: red}}}}", "auth: {enabled: perhaps}",
        "auth: {enabled: false}", "generation: {top_p: 0}",
        "limits: {body_bytes: 536870912, body_bytes_total: 268435456}",
    ])
    func `a wrong file is refused and names the setting`(yaml: String) {
        #expect(throws: SettingsError.self) { try load { $0.file = ("a.yaml", yaml) } }
    }

    @Test(arguments: [
        "engine.hang_timeout", "engine.cool_down", "limits.queue", "limits.request_timeout",
        "limits.template_timeout", "streams.heartbeat", "streams.ttl", "streams.ring",
        "nginx.address_burst", "nginx.key_burst", "server.max_connections",
    ])
    func `a value with which nothing would work is refused`(key: String) {
        #expect(throws: SettingsError.self) { try load { $0.flags = ["\(key)=0"] } }
        #expect(throws: SettingsError.self) { try load { $0.flags = ["\(key)=-1"] } }
    }

    @Test(arguments: [
        "server.drain_timeout", "engine.idle_timeout", "engine.load_wait", "engine.orphan_grace",
        "streams.header_delay", "streams.cancel_after_disconnect", "limits.stop_strings",
    ])
    func `a zero that means none or never is taken`(key: String) throws {
        _ = try load { $0.flags = ["\(key)=0"] }
    }

    @Test func `unknown variables with our prefix are refused`() {
        #expect(throws: SettingsError.self) {
            try load { $0.environment = ["TORCHGATE_IDLE_TIMEOUTS": "3"] }
        }
        #expect(throws: SettingsError.self) { try load { $0.flags = ["x=1"] } }
        #expect(throws: SettingsError.self) { try load { $0.flags = ["engine.slots"] } }
    }

    @Test func `models have settings of their own, and aliases`() throws {
        let yaml = """
            models:
              default: a
              directories: [/x, /y]
              aliases: {gpt-4: a}
              settings:
                a: {path: /m/a, dtype: float32, quantize: int4, idle_timeout: 5, generation: {temperature: 0.5, top_k: 0}}
            """
        let settings = try load { $0.file = ("a.yaml", yaml) }
        #expect(settings.models.directories == ["/x", "/y"])
        #expect(settings.models.aliases == ["gpt-4": "a"])
        let model = try #require(settings.models.settings["a"])
        #expect(model.path == "/m/a")
        #expect(model.dtype == "float32" && model.quantize == "int4")
        #expect(model.idleTimeout == 5)
        #expect(model.generation.temperature == 0.5)
        #expect(model.generation.topK == 0)
        #expect(model.generation.topP == nil)
    }

    @Test func `a model's settings have three spellings, which lie over each other`() throws {
        let yaml = """
            models:
              settings:
                a.b: {dtype: float32, generation.max_tokens: 7, generation: {top_k: 3}}
            """
        let settings = try load { loader in
            loader.file = ("a.yaml", yaml)
            loader.environment = [
                "TORCHGATE_MODELS_SETTINGS": "a.b.generation.top_k=4, x/y.idle_timeout=5"
            ]
            loader.flags = [
                "models.settings.a.b.device=cpu", "models.settings.a.b.quantize=nf4",
                "models.settings.x/y.path=/m/a,b=c",
                "models.settings=a.b.generation.top_p=0.5",
            ]
        }
        let model = try #require(settings.models.settings["a.b"])
        #expect(model.dtype == "float32" && model.device == "cpu")
        #expect(model.generation.maxTokens == 7 && model.generation.topK == 4)
        #expect(model.generation.topP == 0.5)
        #expect(settings.models.settings["x/y"]?.idleTimeout == 5)
        #expect(settings.models.settings["x/y"]?.path == "/m/a,b=c")
        let field = try #require(SettingsTable.fields.first { $0.key == "models.settings" })
        #expect(
            field.text(in: settings)
                == "a.b.device=cpu,a.b.dtype=float32,a.b.quantize=nf4,a.b.generation.max_tokens=7,"
                + "a.b.generation.top_p=0.5,a.b.generation.top_k=4,"
                + "x/y.path=/m/a,b=c,x/y.idle_timeout=5"
        )
    }

    @Test(arguments: [
        "models.settings.a.colour=red", "models.settings.dtype=float32", "models.settings.=1",
        "models.settings=a", "models.settings=a=b", "models.settings.a.dtype=int3",
        "models.settings.a.quantize=int3", "engine.quantize=auto",
        "models.settings.a.generation.max_tokens=x",
    ])
    func `a model's setting that there is not is refused`(flag: String) {
        #expect(throws: SettingsError.self) { try load { $0.flags = [flag] } }
    }

    @Test(arguments: [
        "server.host=127.0.0.1; return 200", "server.host=a b", "server.host=", "server.host=*",
        "server.host=1.2.3", "server.host=127.0.0.1:80", "server.host=[::1",
        "server.host=[1.2.3.4]",
        "server.host=fe80::1%eth0", "server.host=unix:/x", "server.host=-a",
        "server.name=a;b", "server.name=", "server.name=~.", "server.name=a b", "server.name=a/b",
        "server.name=$host", "server.name=a..b", "nginx.user=www data", "nginx.user=a;b",
        "nginx.user=", "paths.run_dir=", "paths.run_dir=/a\"b", "paths.run_dir=/a'b",
        "paths.run_dir=/a\nb", "paths.run_dir=/a$b", "paths.run_dir=/a*b",
        "server.certificate=/a\\b", "server.certificate_key=/a\tb", "server.socket=/a\"b",
        "nginx.body_dir=/a\u{7F}",
    ])
    func `what could break nginx's files is refused`(flag: String) {
        #expect(throws: SettingsError.self) { try load { $0.flags = [flag] } }
    }

    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("::", "::"), ("[::1]", "::1"), ("fd00::2", "fd00::2"),
        ("localhost", "localhost"), ("llm-1.example.com", "llm-1.example.com"),
    ])
    func `addresses and host names are taken`(given: String, kept: String) throws {
        #expect(try load { $0.flags = ["server.host=\(given)"] }.server.host == kept)
    }

    @Test func `paths with blanks and signs are taken`() throws {
        let path = "/srv/my run; {1} ü#"
        let settings = try load {
            $0.flags = ["paths.run_dir=\(path)", "server.name=llm.example.com"]
        }
        #expect(settings.runDirectory == path)
    }

    @Test func `variables that are no settings are let be`() throws {
        let others = ["TORCHGATE_PEPPER_FILE": "/p", "TORCHGATE_FIXED_TIME": "1"]
        #expect(try load { $0.environment = others } == Settings())
    }

    @Test func `the file of defaults gives way to every other source`() throws {
        let weak = "engine: {slots: 1, threads: 1}\nserver: {port: 1}\nmodels: {default: a}\n"
        let settings = try load { loader in
            loader.defaults = ("d.yaml", weak)
            loader.file = ("a.yaml", "engine: {slots: 2}")
            loader.environmentFile = (".env", "TORCHGATE_ENGINE_THREADS=2")
            loader.environment = ["TORCHGATE_PORT": "2"]
        }
        #expect(settings.engine.slots == 2 && settings.engine.threads == 2)
        #expect(settings.server.port == 2 && settings.models.standard == "a")
    }

    @Test func `folders in the environment stand between colons`() throws {
        let settings = try load { $0.environment = ["TORCHGATE_MODELS_DIRECTORIES": "/x:/y"] }
        #expect(settings.models.directories == ["/x", "/y"])
    }

    @Test func `authentication can be off on loopback only`() throws {
        let off = ["TORCHGATE_AUTH_ENABLED": "false", "TORCHGATE_SERVER_HOST": "127.0.0.1"]
        #expect(try load { $0.environment = off }.authEnabled == false)
    }

    @Test func `variables of other servers hold, and give way to our own`() throws {
        var loader = SettingsLoader()
        loader.file = ("a.yaml", "generation: {max_tokens: 3}\nengine: {idle_timeout: 3}\n")
        loader.environmentFile = (
            ".env", "MAX_TOKENS=256\nMODEL_REPO_ID=Qwen/Qwen3-VL-2B\nHF_TOKEN=\n"
        )
        loader.environment = [
            "PIPELINE_SERVER_TIMEOUT": "60", "TORCHGATE_IDLE_TIMEOUT": "7", "PORT": "3000",
            "VRAM_THRESHOLD": "0.5", "DEVICE_MAP": "cuda:0", "TORCH_DTYPE": "torch.bfloat16",
            "MAX_VIDEO_FRAMES": "8", "SESSIONS_TTL_SECONDS": "60", "HF_TOKEN": "hf_secret",
        ]
        let (settings, notices) = try loader.loadWithNotices()
        #expect(settings.generation.maxTokens == 256 && settings.server.port == 3000)
        #expect(settings.models.standard == "Qwen/Qwen3-VL-2B")
        #expect(settings.engine.idleTimeout == 7 && settings.engine.vramThreshold == 0.5)
        #expect(settings.engine.device == "cuda" && settings.engine.dtype == "bfloat16")
        #expect(settings.media.videoFrames == 8 && settings.streams.ttl == 60)
        #expect(notices.count == 10, "one line each, none for an empty one")
        #expect(!notices.joined().contains("hf_secret"))
        let words = "MAX_TOKENS is taken as generation.max_tokens; its name here is "
        #expect(notices.contains(words + "TORCHGATE_GENERATION_MAX_TOKENS"))
    }

    @Test func `what another program means by such a name is left aside`() throws {
        var loader = SettingsLoader()
        loader.environment = ["HOST": "x86_64 linux", "PORT": "many", "DEVICE_MAP": "balanced"]
        let (settings, notices) = try loader.loadWithNotices()
        #expect(settings == Settings())
        #expect(notices.count == 3 && notices.allSatisfy { $0.contains("left aside") })
    }

    @Test func `another server's model may be a folder`() throws {
        let settings = try load { $0.environment = ["INFERENCE_MODEL_ID": "/srv/Qwen-14B"] }
        #expect(settings.models.standard == "Qwen-14B")
        #expect(settings.models.settings["Qwen-14B"]?.path == "/srv/Qwen-14B")
    }

    @Test func `the page of settings is the table's`() throws {
        let page = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "docs/configuration.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        for (name, markdown) in [
            ("settings", SettingsTable.markdown), ("other servers", OtherServers.markdown),
        ] {
            let parts = text.components(separatedBy: "<!-- \(name) -->\n")
            let table = try #require(parts.last?.components(separatedBy: "<!-- /\(name) -->").first)
            #expect(
                table.trimmingCharacters(in: .whitespacesAndNewlines)
                    == markdown.trimmingCharacters(in: .whitespacesAndNewlines)
            )
        }
    }
}
