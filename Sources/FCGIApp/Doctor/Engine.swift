internal import Glibc

extension Doctor {
    /// Starts the engine as far as its version, which resolves every library that it needs.
    package func engineProgram() -> Finding {
        let name = "engine"
        let mend = "install torchgate-engine beside torchgate, or set engine.executable"
        if let trouble = trouble(with: engine, name, mend: mend) { return trouble }
        guard let run = ChildProgram.run([engine, "--version"], seconds: 60) else {
            return .failure(
                name,
                "\(engine) cannot be started: \(systemMessage())",
                mend: "install it again for this machine's architecture"
            )
        }
        if run.isLate {
            return .failure(
                name,
                "\(engine) --version did not end within 60 s",
                mend: "look at the machine's disk and memory"
            )
        }
        guard run.status == 0 else { return trouble(of: engine, run, name, "libtorch and ") }
        guard run.output == version else {
            return .warning(
                name,
                "\(engine) is \(run.output), this is \(version)",
                mend: "install both from one build"
            )
        }
        return .ok(name, "\(engine) \(run.output) starts; its libraries are found")
    }

    /// Has the decoder try what its sandbox forbids: it must start, build that, and die of it.
    package func mediaProgram() -> Finding {
        let name = "media"
        let mend = "install torchgate-media beside torchgate, or set media.executable"
        if let trouble = trouble(with: media, name, mend: mend) { return trouble }
        guard let run = ChildProgram.run([media, "--probe", "socket"], seconds: 10) else {
            return .failure(
                name,
                "\(media) cannot be started: \(systemMessage())",
                mend: "install it again for this machine's architecture"
            )
        }
        guard run.status == 256 + Int(SIGSYS) else { return trouble(of: media, run, name, "") }
        return .ok(name, "\(media) starts; its libraries are found and its sandbox holds")
    }

    /// Why a program is not even started; nil where it may be.
    private func trouble(with program: String, _ name: String, mend: String) -> Finding? {
        guard let facts = FileFacts(program) else {
            return .failure(name, "\(program): \(systemMessage())", mend: mend)
        }
        guard facts.isFile, access(program, X_OK) == 0 else {
            return .failure(name, "\(program) cannot be executed", mend: "chmod 755 \(program)")
        }
        // Also not started from here: this may be root.
        guard facts.mode & 0o002 == 0 else {
            return .failure(name, "\(program) can be written by all", mend: "chmod 755 \(program)")
        }
        return nil
    }

    /// Names the libraries that are missing, where `ldd` can tell; `own` are those that come with it.
    private func trouble(of program: String, _ run: ChildProgram, _ name: String, _ own: String)
        -> Finding
    {
        let loader = ChildProgram.run(["/usr/bin/ldd", program], seconds: 10)
        let lines = (loader?.output ?? "").split(separator: "\n")
        let missing = lines.filter { $0.contains("not found") }.compactMap {
            $0.split(whereSeparator: \.isWhitespace).first.map(String.init)
        }
        guard missing.isEmpty else {
            return .failure(
                name,
                "\(program) lacks \(missing.joined(separator: ", "))",
                mend:
                    "install \(own)the packages of the libraries (make install; docs/operations.md)"
            )
        }
        let said = run.output.split(separator: "\n").first.map { ": \($0)" } ?? ""
        return .failure(
            name,
            "\(program) ended with \(run.status)\(said)",
            mend: "install it again"
        )
    }
}
