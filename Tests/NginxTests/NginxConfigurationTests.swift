import Foundation
import Nginx
import Testing

@Suite struct NginxConfigurationTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private struct Outcome {
        var status: Int32
        var text: String
    }

    private static func run(_ program: String, _ arguments: [String]) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationStatus,
            text: String(decoding: bytes, as: UTF8.self)
        )
    }

    private func text(_ configuration: NginxConfiguration) throws -> String {
        try #require(
            configuration.render(folder: "/f").first { $0.name == "nginx.conf" }?.content
        )
    }

    /// The text between `location … {` and its closing brace.
    private func blocks(_ text: String, opening: String) -> [String] {
        text.components(separatedBy: opening).dropFirst().map { rest in
            var depth = 1
            var block = ""
            for letter in rest {
                if letter == "{" { depth += 1 }
                if letter == "}" { depth -= 1 }
                if depth == 0 { break }
                block.append(letter)
            }
            return block
        }
    }

    @Test(
        arguments: [
            (true, 8080, "127.0.0.1"), (true, 0, "127.0.0.1"), (false, 8080, "::"),
            (false, 0, "::1"),
        ] as [(Bool, Int, String)]
    )
    func `nginx accepts the files in every mode`(
        isDevelopment: Bool,
        httpPort: Int,
        host: String
    ) throws {
        let folder = NSTemporaryDirectory() + "nginx {of}; \(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(
            atPath: folder + "/run",
            withIntermediateDirectories: true
        )
        let certificate = try Self.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-keyout", "\(folder)/key.pem", "-out", "\(folder)/cert.pem", "-days", "2", "-subj",
                "/CN=localhost",
            ]
        )
        try #require(certificate.status == 0, "\(certificate.text)")
        var configuration = NginxConfiguration()
        configuration.isDevelopment = isDevelopment
        configuration.httpPort = httpPort
        configuration.httpsPort = 8443
        configuration.host = host
        configuration.certificate = "\(folder)/cert.pem"
        configuration.certificateKey = "\(folder)/key.pem"
        configuration.runDirectory = "\(folder)/run"
        configuration.bodyDirectory = "\(folder)/run/body"
        configuration.fastCGISocket = "\(folder)/run/fcgi.sock"
        configuration.webSocketSocket = "\(folder)/run/ws.sock"
        configuration.accessLog = "\(folder)/run/access.json"
        configuration.errorLog = "\(folder)/run/error.log"
        for file in configuration.render(folder: folder) {
            try file.content.write(
                toFile: "\(folder)/\(file.name)",
                atomically: true,
                encoding: .utf8
            )
        }
        let outcome = try Self.run(
            "nginx",
            ["-t", "-p", folder, "-e", "stderr", "-c", "\(folder)/nginx.conf"]
        )
        #expect(outcome.status == 0, "\(outcome.text)")
        #expect(outcome.text.contains("test is successful"))
    }

    @Test func `only a key's public id and addresses enter shared memory or the log`() throws {
        let text = try text(NginxConfiguration())
        let zones = text.split(separator: "\n").filter {
            $0.contains("limit_req_zone") || $0.contains("limit_conn_zone")
        }
        let keys = zones.compactMap { line in
            line.split(separator: " ").first { $0.hasPrefix("$") }.map(String.init)
        }
        #expect(Set(keys) == ["$binary_remote_addr", "$kid", "$key_id"])
        // Where $kid comes from: the twelve characters between the prefix and the secret.
        for map in ["map $http_authorization $kid_bearer {", "map $http_x_api_key $kid_plain {"] {
            let block = try #require(blocks(text, opening: map).first { !$0.isEmpty })
            #expect(block.contains("[A-Za-z0-9]{12})-[A-Za-z0-9]"))
        }
        let format = try #require(
            text.components(separatedBy: "log_format").dropFirst().first?
                .components(separatedBy: ";\n").first
        )
        for secret in [
            "authorization", "api_key", "$request_uri", "$args", "$request_body", "$request ",
        ] {
            #expect(!format.contains(secret))
        }
        #expect(format.contains("$logged_uri"))
    }

    @Test func `in production plain HTTP answers health and redirects, and proxies no API`() throws
    {
        let text = try text(NginxConfiguration())
        let servers = blocks(text, opening: "server {")
        let plain = try #require(servers.first { $0.contains("listen 0.0.0.0:80;") })
        let secure = try #require(servers.first { $0.contains("listen 0.0.0.0:443 ssl") })
        #expect(!plain.contains("@app") && !plain.contains("auth_request"))
        #expect(!plain.contains("proxy_pass"))
        let passes = plain.components(separatedBy: "fastcgi_pass torchgate_fcgi").count - 1
        #expect(passes == blocks(plain, opening: "location = /").count)
        let open = plain.split(separator: "\n").filter { $0.contains("location = ") }
        #expect(open.count == 3 && open.allSatisfy { $0.contains("health") || $0.contains("z {") })
        #expect(secure.contains("auth_request /_auth;"))
        #expect(plain.contains("add_header x-request-id $rid always;"))
    }

    @Test func `what needs no key is limited by address and takes no body`() throws {
        for isDevelopment in [true, false] {
            var configuration = NginxConfiguration()
            configuration.isDevelopment = isDevelopment
            let text = try text(configuration)
            var open = blocks(text, opening: "location = /").filter { !$0.contains("internal;") }
            open.removeAll { $0.contains("satisfy any;") }
            #expect(open.count == (isDevelopment ? 8 : 7))
            open += blocks(text, opening: "location /ws/ {")
            for block in open {
                #expect(block.contains("limit_req zone=address burst=800 nodelay;"))
                #expect(block.contains("client_max_body_size 1k;"))
                #expect(block.contains("_pass_request_body off;"))
            }
        }
    }

    @Test func `every server answers nginx's own errors as JSON, none of them with 500`() throws {
        let text = try text(NginxConfiguration())
        let servers = blocks(text, opening: "server {").filter { $0.contains("listen ") }
        #expect(servers.count == 2)
        for server in servers {
            #expect(server.contains("error_page 500 501 502 503 505 =503 @e503;"))
            for status in [400, 401, 403, 404, 405, 408, 413, 414, 429, 503, 504] {
                #expect(server.contains("error_page \(status)") || status == 503)
                let page = try #require(blocks(server, opening: "location @e\(status) {").first)
                #expect(page.contains("add_header x-request-id \"$rid\" always;"))
                #expect(page.contains("\"code\":"))
                #expect(page.contains("Retry-After") == [429, 503].contains(status))
                let isSecure = server.contains(" ssl ")
                #expect(page.contains("Strict-Transport-Security") == isSecure)
            }
        }
    }

    @Test func `in development plain HTTP is on loopback, and port 0 leaves it out`() throws {
        var configuration = NginxConfiguration()
        configuration.isDevelopment = true
        configuration.httpPort = 8080
        let text = try text(configuration)
        #expect(text.contains("listen 127.0.0.1:8080;"))
        #expect(!text.contains("listen 0.0.0.0:8080"))
        configuration.httpPort = 0
        #expect(try self.text(configuration).components(separatedBy: "listen ").count == 2)
    }

    @Test func `a redirect leads to the name and port that were set`() throws {
        var configuration = NginxConfiguration()
        #expect(try text(configuration).contains("return 308 https://$host$request_uri;"))
        configuration.httpsPort = 8443
        #expect(try text(configuration).contains("return 308 https://$host:8443$request_uri;"))
        configuration.serverName = "llm.example.com"
        let text = try text(configuration)
        #expect(text.contains("return 308 https://llm.example.com:8443$request_uri;"))
    }

    @Test func `an IPv6 address stands in brackets`() throws {
        var configuration = NginxConfiguration()
        configuration.host = "::1"
        #expect(try text(configuration).contains("listen [::1]:443 ssl http2;"))
        configuration.host = "::"
        let text = try text(configuration)
        #expect(text.contains("listen [::]:443 ipv6only=off ssl http2;"))
        #expect(text.contains("listen [::]:80 ipv6only=off;"))
    }

    @Test func `metrics are open to loopback alone, or to who is authenticated`() throws {
        let text = try text(NginxConfiguration())
        let metrics = blocks(text, opening: "location = /metrics {")
        #expect(metrics.count == 1)
        let block = try #require(metrics.first)
        for line in ["satisfy any;", "allow 127.0.0.0/8;", "allow ::1;", "deny all;"] {
            #expect(block.contains(line))
        }
        #expect(block.contains("auth_request /_auth;"))
        #expect(text.components(separatedBy: "allow ").count == 3)
    }

    @Test func `only the authenticated id goes on to the server`() throws {
        let text = try text(NginxConfiguration())
        let app = try #require(blocks(text, opening: "location @app {").first)
        #expect(app.contains("fastcgi_pass_request_headers off;"))
        #expect(app.contains("fastcgi_param LLM_KEY_ID $key_id;"))
        #expect(!app.lowercased().contains("authorization") && !app.contains("api_key"))
        let auth = try #require(blocks(text, opening: "location = /_auth {").first)
        #expect(auth.contains("internal;"))
    }

    @Test func `the example is what the defaults render`() throws {
        let example = try String(
            contentsOf: Self.root.appending(path: "nginx/torchgate.conf.example"),
            encoding: .utf8
        )
        let files = NginxConfiguration().render(folder: "/etc/torchgate/nginx")
        #expect(example == files.first { $0.name == "nginx.conf" }?.content)
    }
}
