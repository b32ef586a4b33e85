internal import Settings
internal import Glibc

extension Doctor {
    /// Days before its end from which a certificate is worth a warning.
    private static let warningDays = 14

    /// The certificate and its key.
    func certificates() -> [Finding] {
        [certificateKey(settings.server.certificateKey), certificate(settings.server.certificate)]
    }

    package func certificateKey(_ path: String) -> Finding {
        let name = "certificate key"
        guard let facts = FileFacts(path) else {
            if errno == EACCES, !isRoot { return .skipped(name, "\(path): only root may look") }
            return .failure(
                name,
                "\(path): \(systemMessage())",
                mend: "put the key there, or set server.certificate_key"
            )
        }
        guard access(path, R_OK) == 0 else {
            if !isRoot { return .skipped(name, "\(path): only root may read it") }
            return .failure(name, "\(path): \(systemMessage())", mend: "chmod 600 \(path)")
        }
        guard facts.mode & 0o007 == 0 else {
            return .failure(
                name,
                "\(path) has mode \(facts.modeText): every user can read it",
                mend: "chmod 600 \(path), and replace the key: it may be known"
            )
        }
        return .ok(name, "\(path), mode \(facts.modeText)")
    }

    package func certificate(_ path: String) -> Finding {
        let name = "certificate"
        guard access(path, R_OK) == 0 else {
            if errno == EACCES, !isRoot { return .skipped(name, "\(path): only root may look") }
            return .failure(
                name,
                "\(path): \(systemMessage())",
                mend: "put the certificate's chain there, or set server.certificate"
            )
        }
        let openssl = "/usr/bin/openssl"
        guard access(openssl, X_OK) == 0 else {
            return .skipped(name, "\(path) is there; without \(openssl) its end is not known")
        }
        let words = [openssl, "x509", "-noout", "-in", path, "-enddate"]
        guard let read = ChildProgram.run(words, seconds: 10), read.status == 0 else {
            return .failure(
                name,
                "\(path) is no certificate in PEM",
                mend: "put the chain there: the server's certificate first"
            )
        }
        let end = read.line(with: "notAfter=")?.dropFirst("notAfter=".count) ?? "?"
        func lasts(_ seconds: Int) -> Bool {
            let asked = Array(words.dropLast()) + ["-checkend", "\(seconds)"]
            return ChildProgram.run(asked, seconds: 10)?.status == 0
        }
        guard lasts(0) else {
            return .failure(name, "\(path) ended on \(end)", mend: "renew it, then reload nginx")
        }
        guard lasts(Self.warningDays * 86_400) else {
            return .warning(
                name,
                "\(path) ends on \(end)",
                mend: "renew it, then systemctl reload torchgate-nginx"
            )
        }
        return .ok(name, "\(path), until \(end)")
    }
}
