"""The servers that are measured: started, asked for readiness, ended with all their processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Workload:
    """What both servers get alike."""

    model: str
    gguf: Path
    threads: int
    context: int
    slots: int


@dataclass
class Server:
    """A running server: where it listens, and its oldest process."""

    name: str
    port: int
    key: str = ""
    model: str = ""
    root_pid: int = 0
    process: subprocess.Popen[bytes] | None = None
    folder: Path = field(default_factory=Path)

    def answers(self, path: str) -> bool:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=2) as reply:
                return bool(reply.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        if self.process is None:
            environment = {**os.environ, "RUN_DIR": str(self.folder)}
            subprocess.run([str(ROOT / "scripts/stop.sh")], env=environment, check=False, timeout=90)
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_torchgate(work: Workload, folder: Path, settings: dict[str, str]) -> Server:
    """nginx, front and engine, as `make run DETACH=1` starts them; asked over HTTP in clear on loopback."""
    http, https = free_port(), free_port()
    environment = {
        **os.environ,
        "RUN_DIR": str(folder),
        "HTTP_PORT": str(http),
        "HTTPS_PORT": str(https),
        "MODEL": work.model,
        "DETACH": "1",
        "TORCHGATE_ENGINE_THREADS": str(work.threads),
        "TORCHGATE_ENGINE_MAX_CONTEXT": str(work.context),
        "TORCHGATE_ENGINE_SLOTS": str(work.slots),
        "TORCHGATE_ENGINE_IDLE_TIMEOUT": "0",
        **settings,
    }
    subprocess.run(
        [str(ROOT / "scripts/run.sh")], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    lines = (folder / "env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    pid = int((folder / "torchgate.pid").read_text())
    return Server("torchgate", http, values["API_KEY"], values["MODEL"], pid, None, folder)


def start_llama_server(work: Workload, program: Path, folder: Path) -> Server:
    """llama-server with its defaults, but for what the workload says and its prompt cache, which is off."""
    port = free_port()
    words = [
        str(program), "--model", str(work.gguf), "--host", "127.0.0.1", "--port", str(port),
        "--threads", str(work.threads), "--threads-batch", str(work.threads),
        "--ctx-size", str(work.context * work.slots), "--parallel", str(work.slots),
        "--no-cache-prompt", "--cache-ram", "0",
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "llama-server.log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    server = Server("llama-server", port, "", work.model, process.pid, process, folder)
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if server.answers("/health"):
            return server
        time.sleep(0.1)
    server.stop()
    raise RuntimeError(f"llama-server did not start; see {folder}/llama-server.log")


def identity(program: Path) -> str:
    """What a peer says it is."""
    words = [str(program), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return json.dumps((done.stdout + done.stderr).strip().splitlines()[:1])
