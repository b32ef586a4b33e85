import CLinux
import EngineLink
import Glibc
import Synchronization
import Testing

/// Engines that a socket's owner starts when somebody connects, as systemd does.
@Suite struct ActivationTests {
    /// Holds the listening socket and starts an engine whenever it becomes readable.
    private final class Activator: Sendable {
        let path = Stage.abstractSocket
        let isStopped = Atomic(false)
        let starts = Atomic(0)

        init() throws {
            let listener = tg_unix_listen(path, 16, 0o600)
            try #require(listener >= 0)
            #expect(LinkThread.start("activator") { self.run(listener) })
        }

        private func run(_ listener: Int32) {
            while !isStopped.load(ordering: .relaxed) {
                var polled = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                guard poll(&polled, 1, 20) == 1 else { continue }
                starts.wrappingAdd(1, ordering: .relaxed)
                let words = [Stage.executable, "--fd", String(listener), "--stepMs", "2"]
                var argv: [UnsafeMutablePointer<CChar>?] = []
                for word in words { argv.append(strdup(word)) }
                argv.append(nil)
                var envp: [UnsafeMutablePointer<CChar>?] = [nil]
                var kept = listener
                let pid = tg_spawn(&argv, &envp, 0, 2, 2, &kept, 1, 0, 0)
                for word in argv { free(word) }
                var status: Int32 = 0
                waitpid(pid, &status, 0)
            }
            close(listener)
        }
    }

    @Test func `connecting starts the engine, its idle exit ends it, a crash is survived`() throws {
        let activator = try Activator()
        var settings = SupervisorSettings()
        settings.idleTimeout = 1
        let supervisor = EngineSupervisor(
            settings: settings,
            launcher: SocketLauncher(path: activator.path)
        )
        // Looking for an orphan would start an engine that nobody needs.
        usleep(50_000)
        #expect(activator.starts.load(ordering: .relaxed) == 0)
        let audience = Audience()
        _ = try supervisor.submit(
            GenerationRequest(
                prompt: [1],
                sampling: SamplingParameters(seed: 7),
                stop: StopConditions(maxTokens: 200)
            ),
            model: Stage.model,
            key: "k"
        ) { audience.hear($0) }
        #expect(audience.has(20))
        let pid = try #require(supervisor.status().pid)
        #expect(kill(pid, SIGKILL) == 0)
        #expect(audience.ended() && audience.tokens() == expected([1], 200))
        #expect(eventually { supervisor.status().state == .absent })
        #expect(activator.starts.load(ordering: .relaxed) == 2)
        supervisor.stop(drainSeconds: 0, unload: true)
        activator.isStopped.store(true, ordering: .relaxed)
    }

    @Test func `the engine that a front left is found by the next front's first request`() throws {
        let activator = try Activator()
        let first = EngineSupervisor(launcher: SocketLauncher(path: activator.path))
        let one = Audience()
        let request = GenerationRequest(
            prompt: [1],
            sampling: SamplingParameters(seed: 7),
            stop: StopConditions(maxTokens: 3)
        )
        _ = try first.submit(request, model: Stage.model, key: "k") { one.hear($0) }
        #expect(one.ended())
        first.stop(drainSeconds: 0, unload: false)
        let next = EngineSupervisor(launcher: SocketLauncher(path: activator.path))
        let two = Audience()
        _ = try next.submit(request, model: Stage.model, key: "k") { two.hear($0) }
        #expect(two.ended() && two.tokens() == expected([1], 3))
        #expect(next.status().loads == 0, "nothing was loaded anew")
        #expect(activator.starts.load(ordering: .relaxed) == 1)
        next.stop(drainSeconds: 0, unload: true)
        activator.isStopped.store(true, ordering: .relaxed)
    }
}
