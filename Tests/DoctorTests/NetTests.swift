import Doctor
import Foundation
import Settings
import Testing

@Suite struct NetTests {
    private let patient: Patient

    init() throws { patient = try Patient() }

    private func socket(_ path: String, isHeld: Bool?) -> Finding {
        patient.doctor.socket("server socket", path, setting: "server.socket") { _ in isHeld }
    }

    @Test func `a socket's path has at most 107 bytes`() {
        let prefix = "\(patient.folder)/"
        let rest = 107 - prefix.utf8.count
        #expect(socket(prefix + String(repeating: "s", count: rest), isHeld: nil).result == .ok)
        let long = socket(prefix + String(repeating: "s", count: rest + 1), isHeld: nil)
        #expect(long.result == .failure && long.mend?.contains("server.socket") == true)
    }

    @Test func `a file where a socket should be is a failure`() {
        #expect(socket(patient.doctor.engine, isHeld: nil).result == .failure)
        #expect(
            socket("\(patient.folder)/no/such.sock", isHeld: nil).mend?.contains("mkdir") == true
        )
    }

    @Test func `a port that another program holds is a failure that names it`() throws {
        let trial = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(trial) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(trial, $0, length) == 0 && listen(trial, 1) == 0
                    && getsockname(trial, $0, &length) == 0
            }
        }
        #expect(bound)
        let port = Int(UInt16(bigEndian: address.sin_port))
        let finding = patient.doctor.port("port", "127.0.0.1", port, setting: "server.port")
        #expect(finding.result == .failure)
        #expect(finding.found.contains("(pid \(getpid()))"))
        #expect(finding.mend?.contains("server.port") == true)

        // The same program, named in nginx's pid file, is the server's own.
        try Data("\(getpid())\n".utf8).write(
            to: URL(fileURLWithPath: "\(patient.folder)/nginx.pid")
        )
        #expect(
            patient.doctor.port("port", "127.0.0.1", port, setting: "server.port").result == .ok
        )
    }

    @Test func `an address of another machine, and no address at all, are failures`() {
        for host in ["192.0.2.1", "not an address"] {
            #expect(patient.doctor.port("port", host, 65_000, setting: "p").result == .failure)
        }
    }

    @Test func `only listening lines of the port count`() {
        let table = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1
               1: 0100007F:01BB 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 4712 1
               2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1
            """
        #expect(Listeners.inodes(ofPort: 443, table: table) == ["socket:[4711]"])
    }

    @Test func `an nginx that is missing or too old is a failure`() throws {
        let path = "\(patient.folder)/nginx"
        patient.doctor.nginxProgram = path
        #expect(patient.doctor.nginxVersion().mend == "apt-get install nginx-light")
        try patient.program("echo nginx version: nginx/1.18.0 >&2", at: path)
        #expect(patient.doctor.nginxVersion().result == .failure)
        try patient.program("echo nginx version: nginx/1.26.3 >&2", at: path)
        #expect(patient.doctor.nginxVersion().result == .ok)
    }

    @Test func `what nginx says of its files is the finding`() throws {
        let path = "\(patient.folder)/nginx"
        patient.doctor.nginxProgram = path
        let words = "2026/01/01 00:00:00 [emerg] 1#1: host not found in /x.conf:3"
        try patient.program("echo '\(words)' >&2; exit 1", at: path)
        let finding = patient.doctor.nginxFiles()
        #expect(finding.result == .failure && finding.found == "host not found in /x.conf:3")
        try patient.program("exit 0", at: path)
        #expect(patient.doctor.nginxFiles().result == .ok)
    }

    @Test func `a key that every user can read is a failure`() throws {
        let path = "\(patient.folder)/key.pem"
        #expect(patient.doctor.certificateKey(path).result == .failure)
        FileManager.default.createFile(atPath: path, contents: nil)
        chmod(path, 0o600)
        #expect(patient.doctor.certificateKey(path).result == .ok)
        chmod(path, 0o604)
        #expect(patient.doctor.certificateKey(path).mend?.contains("chmod 600") == true)
    }

    @Test(arguments: [(30, Finding.Result.ok), (3, .warning)])
    func `a certificate near its end is a warning`(days: Int, result: Finding.Result) throws {
        let path = "\(patient.folder)/cert.pem"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=test", "-days", "\(days)", "-keyout", "\(patient.folder)/k", "-out", path,
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(patient.doctor.certificate(path).result == result)
    }

    @Test func `a file that is no certificate is a failure`() {
        #expect(patient.doctor.certificate(patient.doctor.engine).result == .failure)
    }
}
