internal import Glibc

extension Doctor {
    /// Starts the engine as far as its version, which resolves every library that it needs.
    package func engineProgram() -> Finding {
        let name = "engine"
        guard let facts = FileFacts(engine) else {
            return .failure(
                name,
                "\(engine): \(systemMessage())",
                mend: "install torchgate-engine beside torchgate, or set engine.executable"
            )
        }
        guard facts.isFile, access(engine, X_OK) == 0 else {
            return .failure(name, "\(engine) cannot be executed", mend: "chmod 755 \(engine)")
        }
        // Also not started from here: this may be root.
        guard facts.mode & 0o002 == 0 else {
            return .failure(name, "\(engine) can be written by all", mend: "chmod 755 \(engine)")
        }
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
        guard run.status == 0 else { return engineTrouble(run) }
        guard run.output == version else {
            return .warning(
                name,
                "\(engine) is \(run.output), this is \(version)",
                mend: "install both from one build"
            )
        }
        return .ok(name, "\(engine) \(run.output) starts; its libraries are found")
    }

    /// Names the libraries that are missing, where `ldd` can tell.
    private func engineTrouble(_ run: ChildProgram) -> Finding {
        let name = "engine"
        let loader = ChildProgram.run(["/usr/bin/ldd", engine], seconds: 10)
        let lines = (loader?.output ?? "").split(separator: "\n")
        let missing = lines.filter { $0.contains("not found") }.compactMap {
            $0.split(whereSeparator: \.isWhitespace).first.map(String.init)
        }
        guard missing.isEmpty else {
            return .failure(
                name,
                "\(engine) lacks \(missing.joined(separator: ", "))",
                mend: "install libtorch beside it (make install), and the packages of the libraries"
            )
        }
        let said = run.output.split(separator: "\n").first.map { ": \($0)" } ?? ""
        return .failure(
            name,
            "\(engine) --version ended with \(run.status)\(said)",
            mend: "install it again"
        )
    }
}
